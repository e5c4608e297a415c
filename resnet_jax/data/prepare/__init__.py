"""Image folders and archives as array_record sets, written in shards and resumable."""

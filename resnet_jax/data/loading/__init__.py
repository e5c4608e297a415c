"""From a source to batches: their order, their reading, an iterator that can be saved."""

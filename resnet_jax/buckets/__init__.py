"""Paths in buckets, `gs://` and `s3://`: the only package that knows how objects are reached.

How to use it elsewhere:

- `resnet_jax.local_paths.user_path(text)` turns what a user gave into an `AnyPath`: a
  `pathlib.Path`, or a `BucketPath` with the same methods, as far as a bucket has them. Most code
  needs no more, and mypy names the methods that a bucket lacks. A `BucketPath` is not
  `os.PathLike`, so that a library that wants a local file raises a TypeError rather than creating a
  folder named `gs:`.
- `whole_files.write_bytes`, `write_text` and `replacing` write to both.
- A library that wants a local file gets one from `fetched`, or from `download`; `upload` takes
  one. Both transfer a file whole or not at all. `files()` lists everything below a path, with sizes
  and tags, in one request per thousand objects; a tag changes whenever the object does, so it is
  what a cache compares. `create` fails if the object exists, which decides between two writers.
- `download_files`, `upload_files` and `remove_files` take many at once.
- Each method says how many requests it makes. `is_dir`, `iterdir` and `files` list, which costs
  more than reading: ask once and keep the answer.

Requests that fail because the service is busy or cannot be reached are repeated for `PATIENCE`
seconds. What fails after that is a `BucketError`; refused credentials are an `AccessError` at once.
Both are OSErrors with a message of one line.

fsspec reaches the objects, with gcsfs and s3fs, which find credentials and endpoints as Google's
and Amazon's own tools do. They are imported at the first request.
"""

from __future__ import annotations

from resnet_jax.buckets.fetched import fetched
from resnet_jax.buckets.path import EXTRAS, AnyPath, BucketFile, BucketPath
from resnet_jax.buckets.requests import AccessError, BucketError
from resnet_jax.buckets.transfers import download_files, remove_files, upload_files

__all__ = [
    "EXTRAS",
    "AccessError",
    "AnyPath",
    "BucketError",
    "BucketFile",
    "BucketPath",
    "download_files",
    "fetched",
    "remove_files",
    "upload_files",
]

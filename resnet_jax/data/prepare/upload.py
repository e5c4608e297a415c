"""Puts a prepared dataset into a bucket."""

from __future__ import annotations

from pathlib import Path

from resnet_jax.buckets import BucketPath, upload_files

_INFO = "dataset_info.json"


def upload_dataset(folder: Path, target: BucketPath) -> None:
    """Copies the files of a dataset; without the last of them, readers find no dataset.

    Args:
        folder: The folder of its version.
        target: The folder in the bucket.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != _INFO]
    upload_files({target / file.relative_to(folder): file for file in files})
    (target / _INFO).upload(folder / _INFO)

"""Puts a prepared dataset into a bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from resnet_jax.buckets import BucketPath

_INFO = "dataset_info.json"


def upload_dataset(folder: Path, target: BucketPath, *, workers: int) -> None:
    """Copies the files of a dataset; without the last of them, readers find no dataset.

    Args:
        folder: The folder of its version.
        target: The folder in the bucket.
        workers: Threads.
    """
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != _INFO]
    with ThreadPoolExecutor(workers) as pool:
        jobs = [
            pool.submit((target / file.relative_to(folder)).upload, file) for file in sorted(files)
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    (target / _INFO).upload(folder / _INFO)

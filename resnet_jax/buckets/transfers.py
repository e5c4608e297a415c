"""Many files at once, between a bucket and this machine."""

from __future__ import annotations

import concurrent.futures
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from resnet_jax.buckets.path import BucketPath

_AT_ONCE = 8

T = TypeVar("T")


def download_files(files: Mapping[str, BucketPath], folder: pathlib.Path) -> None:
    """Downloads objects into a folder.

    Args:
        files: The objects by their names within the folder.
        folder: Created if it is missing.
    """
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    _at_once(lambda name: files[name].download(folder / name), files)


def upload_files(files: Mapping[BucketPath, pathlib.Path]) -> None:
    """Uploads files, and passes over those that are removed meanwhile."""

    def send(target: BucketPath) -> None:
        try:
            target.upload(files[target])
        except FileNotFoundError:
            if files[target].exists():  # then the bucket does not
                raise

    _at_once(send, files)


def remove_files(paths: Iterable[BucketPath]) -> None:
    """Removes objects, as far as they exist."""
    _at_once(lambda path: path.unlink(missing_ok=True), paths)


def _at_once(action: Callable[[T], None], items: Iterable[T]) -> None:
    """Does the same with all items; after a failure or an interruption, nothing more is begun."""
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [pool.submit(action, item) for item in items]
        try:
            for job in concurrent.futures.as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

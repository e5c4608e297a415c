"""Copies the files of a bucket that a library wants to open itself to this machine."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import filelock

from resnet_jax.buckets import BucketFile, BucketPath, download_files
from resnet_jax.data.sources.files.cache import FileCache
from resnet_jax.errors import ConfigError

_logger = logging.getLogger(__name__)


def mirror(
    folder: BucketPath, files: Sequence[BucketFile], *, version: str, cache: FileCache
) -> Path:
    """Copies files of a folder, unless they were copied before, and keeps them.

    They are never removed: what does not fit below the limit of the cache is refused.

    Args:
        folder: The folder in the bucket.
        files: Which of its files.
        version: Changes when the files do; copies of another version lie elsewhere.
        cache: Its folder and limit.

    Returns:
        The folder on this machine.

    Raises:
        ConfigError: They do not fit.
    """
    mirrors = cache.folder / "mirrors"
    key = hashlib.sha256(f"{folder} {version}".encode()).hexdigest()[:16]
    target = mirrors / key / folder.parent.name / folder.name
    target.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(mirrors / f"{key}.lock"):
        missing = [
            found for found in files if not (target / found.path.relative_to(folder)).exists()
        ]
        if not missing:
            return target
        _check_room(folder, missing, mirrors, cache.limit)
        size = sum(found.size for found in missing)
        _logger.info(
            "copying %d files (%s) of %s to %s", len(missing), _sized(size), folder, target
        )
        download_files(
            {str(found.path.relative_to(folder)): found.path for found in missing}, target
        )
    return target


def _check_room(
    folder: BucketPath, missing: Sequence[BucketFile], mirrors: Path, limit: int
) -> None:
    size = sum(found.size for found in missing)
    taken = sum(file.stat().st_size for file in mirrors.rglob("*") if file.is_file())
    if taken + size > limit:
        before = f", where other datasets take {_sized(taken)}" if taken else ""
        raise ConfigError(
            f"{folder} has {_sized(size)} to copy to {mirrors}{before}, and the limit is "
            f"{_sized(limit)}: raise data.cache_gigabytes, with data.cache_dir on a disk that "
            "has room, or read images one by one: folder: or zip:"
        )
    free = shutil.disk_usage(mirrors).free
    if size > free:
        raise ConfigError(
            f"{folder} has {_sized(size)} to copy to {mirrors}, whose disk has "
            f"{_sized(free)} left: set data.cache_dir to another one"
        )


def _sized(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"

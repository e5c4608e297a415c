"""Where the files of a dataset lie: a folder, a zip archive, or a bucket."""

from __future__ import annotations

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.data.sources.files.archive import ZipFiles
from resnet_jax.data.sources.files.bucket import BucketFolder, BucketRanges
from resnet_jax.data.sources.files.cache import FileCache
from resnet_jax.data.sources.files.folder import Files, FolderFiles
from resnet_jax.data.sources.files.ranges import LocalRanges
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_path

__all__ = ["FileCache", "Files", "open_folder", "open_zip"]


def open_folder(path: str | AnyPath, *, cache: FileCache) -> Files:
    """Opens the files below a folder.

    Args:
        path: The folder, on this machine or in a bucket.
        cache: Keeps what is read from a bucket.

    Raises:
        ConfigError: There is no such folder.
    """
    found = user_path(path)
    if isinstance(found, BucketPath):
        return BucketFolder(found, cache=cache)
    return FolderFiles(found)


def open_zip(path: str | AnyPath, *, cache: FileCache) -> Files:
    """Opens the files of a zip archive.

    Args:
        path: The archive, on this machine or in a bucket.
        cache: Keeps what is read from a bucket.

    Raises:
        ConfigError: There is no such archive, or it is damaged.
    """
    found = user_path(path)
    if isinstance(found, BucketPath):
        return ZipFiles(lambda: BucketRanges(found, cache=cache), origin=str(found))
    if found.is_dir():
        raise ConfigError(f"data.name='zip:{path}': it is a folder; write folder:{path}")
    return ZipFiles(lambda: LocalRanges(found), origin=str(found))

"""Paths that users give: every one of them goes through `user_path` or `local_path`."""

from __future__ import annotations

import os
import pathlib
import re

from resnet_jax.buckets import EXTRAS, AnyPath, BucketPath
from resnet_jax.errors import ConfigError

# Of at least two letters: `c:/x` is a path on Windows. Of what was `gs://bucket`, pathlib leaves
# `gs:/bucket`.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def user_path(path: str | os.PathLike[str] | BucketPath) -> AnyPath:
    """Returns a path on this machine or in a bucket, `gs://bucket/run` or `s3://bucket/run`.

    Args:
        path: What the user gave. `~` at its beginning is replaced by the home folder.

    Raises:
        ConfigError: It is an address of another scheme, or one of a bucket without the extra that
            reaches it.
    """
    if isinstance(path, BucketPath):
        return path
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        # Unlike pathlib's, this leaves a name such as `~$1.png` as it is.
        return pathlib.Path(os.path.expanduser(text))  # noqa: PTH111
    scheme, rest = match[1], text[match.end() :].lstrip("/")
    if scheme.lower() in EXTRAS:
        return BucketPath.parse(text)
    if scheme.lower() == "file":
        raise ConfigError(f"{scheme}:///{rest}: write the path of a local file, /{rest}")
    raise ConfigError(
        f"{scheme}://{rest}: addresses that start with {scheme}:// cannot be read or written; give "
        "a path on this machine, or in a bucket: gs:// or s3://"
    )


def local_path(path: str | os.PathLike[str] | BucketPath) -> pathlib.Path:
    """Returns a path on this machine, where a bucket does not do.

    Args:
        path: What the user gave. `~` at its beginning is replaced by the home folder.

    Raises:
        ConfigError: It is an address with a scheme, such as `gs://bucket/run`, for which pathlib
            would make a folder named `gs:`.
    """
    found = user_path(path)
    if isinstance(found, BucketPath):
        raise ConfigError(
            f"{found}: addresses that start with {found.scheme}:// cannot be used here; give a "
            "path on this machine"
        )
    return found


def user_cache() -> pathlib.Path:
    """The folder in the user's cache for what can be made, or fetched, again."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "resnet_jax"

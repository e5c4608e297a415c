"""Paths that users give: every one of them goes through `local_path`."""

from __future__ import annotations

import os
import pathlib
import re

from resnet_jax.errors import ConfigError

# Of at least two letters: `c:/x` is a path on Windows. pathlib joins slashes, so that what was
# `gs://bucket` may arrive as `gs:/bucket`.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path on this machine, with `~` replaced by the home folder.

    Args:
        path: What the user gave.

    Raises:
        ConfigError: It is an address with a scheme, such as `gs://bucket/run`, for which pathlib
            would make a folder named `gs:`.
    """
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        return pathlib.Path(text).expanduser()
    scheme = match[1]
    rest = "/" + text[match.end() :].lstrip("/")
    if scheme.lower() == "file":
        raise ConfigError(f"{text}: write a local file without its scheme, {rest}")
    raise ConfigError(
        f"{text}: {scheme}:// cannot be read or written; give a local path, such as one where the "
        "bucket is mounted or copied to"
    )

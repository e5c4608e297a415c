"""Paths that users give: every one of them goes through `local_path`."""

from __future__ import annotations

import os
import pathlib
import re

from resnet_jax.errors import ConfigError

# Of at least two letters: `c:/x` is a path on Windows. Of what was `gs://bucket`, pathlib leaves
# `gs:/bucket`.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")


def local_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns a path on this machine, with `~` at its beginning replaced by the home folder.

    Args:
        path: What the user gave.

    Raises:
        ConfigError: It is an address with a scheme, such as `gs://bucket/run`, for which pathlib
            would make a folder named `gs:`.
    """
    text = os.fspath(path)
    match = _SCHEME.match(text)
    if match is None:
        # Unlike pathlib's, this leaves a name such as `~$1.png` as it is.
        return pathlib.Path(os.path.expanduser(text))  # noqa: PTH111
    scheme, rest = match[1], text[match.end() :].lstrip("/")
    if scheme.lower() == "file":
        raise ConfigError(f"{scheme}:///{rest}: write the path of a local file, /{rest}")
    raise ConfigError(
        f"{scheme}://{rest}: addresses that start with {scheme}:// cannot be read or written; give "
        "a path on this machine, such as that of a mounted or copied folder"
    )

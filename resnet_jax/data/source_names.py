"""What `data.name` may be: the table of sources, from which openers, messages and help are taken.

A new source of images is a file in `resnet_jax/data/sources/` and a row here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.local_paths import user_path

_SOURCES = "resnet_jax.data.sources"


class SourceKind(NamedTuple):
    """A row of the table.

    Attributes:
        takes: What stands after the prefix, for messages and help: `PATH` or `NAME`.
        opener: Opens a split, as `module:function`, so that only the chosen source is imported. It
            is called as `function(name, split, channels=..., bad_examples=...)`, and with
            `cache=...` where there are files.
        files: Opens the files of a path, as `module:function`, where there are such; it is called
            as `function(path, cache=...)`. `resnet-jax prepare` takes these sources.
        layout: Reads the splits and classes of such files, as `module:function`.
        is_offered: Whether messages and help offer it; a program's own source has only a name.
    """

    takes: str
    opener: str
    files: str | None = None
    layout: str = f"{_SOURCES}.layouts.paths:read_paths"
    is_offered: bool = True


SOURCES = {
    "folder": SourceKind(
        "PATH", f"{_SOURCES}.folders:open_file_split", files=f"{_SOURCES}.files:open_folder"
    ),
    "zip": SourceKind(
        "PATH", f"{_SOURCES}.folders:open_file_split", files=f"{_SOURCES}.files:open_zip"
    ),
    "csv": SourceKind(
        "PATH",
        f"{_SOURCES}.folders:open_file_split",
        files=f"{_SOURCES}.layouts.tables:CsvFiles",
        layout=f"{_SOURCES}.layouts.tables:read_table",
    ),
    "hf": SourceKind("NAME", f"{_SOURCES}.hugging_face:open_hugging_face_split"),
    "given": SourceKind("NAME", f"{_SOURCES}.given:open_given_split", is_offered=False),
}
"""The sources by their prefix. A name without one is `digits` or a dataset of TFDS."""

FORMS = tuple(f"{prefix}:{kind.takes}" for prefix, kind in SOURCES.items() if kind.is_offered)
"""How each of them is written: `folder:PATH` and so on."""

FILE_FORMS = tuple(f"{prefix}:{kind.takes}" for prefix, kind in SOURCES.items() if kind.files)
"""Those that are made of files."""

ADVICE = f"Give 'digits', a TFDS name such as 'cifar10', {', '.join(FORMS[:-1])} or {FORMS[-1]}"
"""The end of a message about a name that cannot be used."""

_TFDS_NAME = re.compile(r"[a-z]\w*(/[\w.\-]+)?(:\d+\.\d+\.\d+)?")


def source_kind(name: str) -> SourceKind | None:
    """Looks a name up in the table; None for `digits` and the datasets of TFDS."""
    prefix, colon, _ = name.partition(":")
    return SOURCES.get(prefix) if colon else None


def check_source_name(name: str) -> None:
    """Checks the form of a name; nothing is opened.

    Raises:
        ConfigError: No source has a name of this form.
    """
    prefix, _, rest = name.partition(":")
    kind = source_kind(name)
    if kind is None:
        if not _TFDS_NAME.fullmatch(name):
            raise ConfigError(
                f"data.name={name!r} is not the name of a dataset.{nearest(prefix, SOURCES)} "
                f"{ADVICE}"
            )
    elif not rest:
        raise ConfigError(f"data.name={name!r} names nothing; write {prefix}:{kind.takes}")
    elif kind.takes == "PATH":
        user_path(rest)

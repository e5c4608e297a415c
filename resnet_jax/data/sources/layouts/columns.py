"""Which column of a table of labels means what."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from resnet_jax.data.image_names import is_image
from resnet_jax.data.sources.splits import split_named
from resnet_jax.errors import ConfigError, shown

Rows = Sequence[Sequence[str]]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FILE = _words(
    "file files filename filenames fname filepath path paths imagepath imgpath image images img "
    "imagename imgname imagefile imagefilename relativepath"
)
_FILE_ID = _words("id imageid imgid fileid name key")
_LABEL = _words(
    "label labels class classes classname classlabel labelname category categories categoryname "
    "target targets tag tags"
)
_LABEL_ID = _words("classid classindex labelid labelindex categoryid targetid")
_SPLIT = _words("split splits isvalid istest")
_SPLIT_OR_OTHER = _words("subset partition phase set dataset fold usage")
_INDEX = re.compile(r"(index|unnamed\d*|level\d+)?")  # what pandas writes of its own
# What nobody trains on, and what tables of images often have.
_NO_LABEL = (
    _FILE_ID
    | _SPLIT_OR_OTHER
    | _words(
        "folds kfold idx row rowid number width height size filesize md5 sha1 sha256 hash url date "
        "timestamp"
    )
)

FLAGS = {
    **dict.fromkeys(("0", "0.0", "false", "no"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
}
"""What a cell in the column of a class says."""


class Columns(NamedTuple):
    """The columns of a table, by their place.

    Attributes:
        file: The files.
        labels: The labels; or the columns of the classes, which say 1 or 0 of each image.
        has_flags: Whether it is the latter.
        split: The splits, if there is such a column.
        notes: Lines for the user.
    """

    file: int
    labels: tuple[int, ...]
    has_flags: bool
    split: int | None
    notes: tuple[str, ...]


def _spelling(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def has_files(header: Sequence[str]) -> bool:
    """Whether one of the columns may be that of the files, by its name."""
    return any(_spelling(name) in _FILE | _FILE_ID for name in header)


def choose_columns(header: Sequence[str], rows: Rows, *, origin: str) -> Columns:
    """Finds the columns of files, labels and splits by their names, in any case and spelling.

    Args:
        header: The names.
        rows: The cells of each row.
        origin: The table, for messages.

    Raises:
        ConfigError: A column is missing, or two could be meant; the message names them.
    """
    if any(map(is_image, header)):
        raise ConfigError(
            f"{origin}: its first row names an image ({', '.join(header)}); write the names of the "
            "columns above it, such as file,label"
        )
    spellings = [_spelling(name) for name in header]
    rest = [at for at, spelling in enumerate(spellings) if not _INDEX.fullmatch(spelling)]
    named = {at: repr(header[at]) for at in rest}

    def one_of(meaning: str, *groups: frozenset[str]) -> int | None:
        for words in groups:
            found = [at for at in rest if spellings[at] in words]
            if len(found) > 1:
                raise ConfigError(
                    f"{origin}: the columns {' and '.join(named[at] for at in found)} could both "
                    f"be the {meaning}; rename or remove all but one"
                )
            if found:
                rest.remove(found[0])
                return found[0]
        return None

    file = one_of("files", _FILE, _FILE_ID)
    if file is None:
        raise ConfigError(
            f"{origin} has no column of files among {', '.join(named.values())}; call one of them "
            "file"
        )
    # Such as `dataset`, which may also say where an image is from.
    like_splits = frozenset(
        spellings[at]
        for at in rest
        if spellings[at] in _SPLIT_OR_OTHER and any(split_named(row[at]) for row in rows)
    )
    split = one_of("splits", _SPLIT, like_splits)
    label = one_of("labels", _LABEL, _LABEL_ID)
    if label is not None:
        return Columns(file, (label,), False, split, _left_out(named, rest))
    return _unnamed_labels(named, rows, rest, file, split, origin)


def _unnamed_labels(
    named: dict[int, str], rows: Rows, rest: list[int], file: int, split: int | None, origin: str
) -> Columns:
    """Reads the only column that is left as the labels, or columns of 0 and 1 as classes."""
    others = [at for at in rest if _spelling(named[at]) in _NO_LABEL]
    rest = [at for at in rest if at not in others]
    if not rest:
        words = " and ".join(named[at] for at in others)
        known = f": {words} would say something else of an image" if others else ""
        raise ConfigError(f"{origin} has no column of labels{known}; add one, called label")
    left_out = _left_out(named, others)
    if len(rest) == 1:
        note = f"read the column {named[rest[0]]} as the labels"
        return Columns(file, (rest[0],), False, split, (note, *left_out))
    if all(row[at].casefold() in FLAGS for row in rows for at in rest):
        return Columns(file, tuple(rest), True, split, left_out)
    _refuse_odd_flags(named, rows, rest, origin)
    words = ", ".join(named[at] for at in rest)
    raise ConfigError(
        f"{origin}: any of the columns {words} could be the labels; call the one that is, label, "
        "or write 0 and 1 into them where each is a class"
    )


def _refuse_odd_flags(named: dict[int, str], rows: Rows, rest: list[int], origin: str) -> None:
    """Names the cell because of which columns of 0 and 1 cannot be read as classes."""
    odd = {at: [row[at] for row in rows if row[at].casefold() not in FLAGS] for at in rest}
    if all(2 * len(cells) > len(rows) for cells in odd.values()):
        return
    at, cell = next((at, cells[0]) for at, cells in odd.items() if cells)
    raise ConfigError(
        f"{origin}: {shown(cell, 60)!r} in the column {named[at]} is neither 0 nor 1, as it has to "
        "be where columns are classes; write 0 or 1, or remove the column; or call the one that "
        "has the labels, label"
    )


def _left_out(named: dict[int, str], rest: list[int]) -> tuple[str, ...]:
    words = ", ".join(named[at] for at in rest)
    return (f"left out the column{'s' * (len(rest) > 1)} {words}",) if words else ()


def split_reader(name: str, cells: Sequence[str], *, origin: str) -> Callable[[str], str]:
    """Returns the function that reads the cells of the column of splits.

    Args:
        name: Of the column: in `is_valid` and `is_test`, 1 and True mean validation and test, and
            0 and False train.
        cells: All of its cells.
        origin: The table, for messages.

    Raises:
        ConfigError: A cell means none of the splits.
    """
    flagged = {"isvalid": "validation", "istest": "test"}.get(_spelling(name))
    meant = {cell: split_named(cell) for cell in set(cells)}
    if flagged is not None:
        flags = {cell: FLAGS.get(cell.casefold()) for cell in meant}
        meant |= {cell: flagged if on else "train" for cell, on in flags.items() if on is not None}
    odd = sorted(cell for cell, split in meant.items() if split is None)
    if odd:
        raise ConfigError(
            f"{origin}: {odd[0]!r} in the column {name!r} is no split; write train, validation or "
            "test, or rename the column if it says something else"
        )
    return lambda cell: str(meant[cell])

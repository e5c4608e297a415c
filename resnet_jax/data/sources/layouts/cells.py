"""The labels in the cells of a table: one in each, or several."""

from __future__ import annotations

import ast
import io
import itertools
import tokenize
from collections.abc import Sequence
from typing import NamedTuple

from resnet_jax.data.sources.layouts.columns import FLAGS, Columns
from resnet_jax.errors import ConfigError, counted, shown

SEPARATORS = {"pipe": "|", "semicolon": ";", "comma": ",", "space": " ", "none": None}
"""What stands between the labels of a file, by the name at the end of `csv:PATH:NAME`."""

_TELLING = ("pipe", "semicolon")  # characters that hardly any class has in its name


class LabelCells(NamedTuple):
    """The labels of each row.

    Attributes:
        names: The labels of each row.
        are_several: Whether a row may have several, or none.
        notes: Lines for the user.
        classes: All labels that there are, if the table says so; None for those of the rows.
    """

    names: list[tuple[str, ...]]
    are_several: bool
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None


def split_separator(path: str) -> tuple[str, str | None]:
    """Splits `PATH:NAME` into the path and the name of the separator, if it has one."""
    place, _, name = path.rpartition(":")
    return (place, name) if place and name in SEPARATORS else (path, None)


def read_labels(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    columns: Columns,
    *,
    separator: str | None,
    origin: str,
) -> LabelCells:
    """Reads the labels of each row of a table.

    Args:
        header: The names of the columns.
        rows: The cells.
        columns: What they mean.
        separator: The name of what stands between labels; None if nothing was said.
        origin: The table, for messages.

    Raises:
        ConfigError: A cell could be one label or several, or is neither.
    """
    if columns.has_flags:
        return _from_flags(header, rows, columns.labels)
    cells = [row[columns.labels[0]] for row in rows]
    cells = ["" if cell.casefold() == "nan" else cell for cell in cells]  # a missing value
    filled = [cell for cell in cells if cell]
    if separator is None and filled and _are_lists(filled):
        names = [_from_list(cell, origin) if cell else () for cell in cells]
        return LabelCells(names, True, _notes(names))
    if separator is None:
        _refuse_two_readings(filled, origin)
        cells = _whole_numbers(cells, origin)
    between = SEPARATORS[separator or "none"]
    if between is None:
        notes = _comma_note(filled, origin) if separator is None else ()
        return LabelCells([(cell,) if cell else () for cell in cells], False, notes)
    parts = ([part.strip() for part in cell.split(between)] for cell in cells)
    names = [tuple(dict.fromkeys(filter(None, several))) for several in parts]
    return LabelCells(names, True, _notes(names))


def _comma_note(cells: Sequence[str], origin: str) -> tuple[str, ...]:
    """Says that commas, which many names of classes have, separate no labels."""
    cell = next((cell for cell in cells if "," in cell), None)
    if cell is None:
        return ()
    return (f"read {shown(cell, 60)!r} as one label; csv:{origin}:comma reads several",)


def _are_lists(cells: Sequence[str]) -> bool:
    """Whether all cells are lists; or tuples or sets, which the name `(new)` is not."""
    pairs = {cell[0] + cell[-1] for cell in cells}
    return pairs == {"[]"} or (
        pairs <= {"[]", "()", "{}"} and all(_list_or_none(cell) is not None for cell in cells)
    )


def _whole_numbers(cells: list[str], origin: str) -> list[str]:
    """Writes 1.0 as 1, if every label is such a number; other fractions are no classes."""
    try:
        values = [float(cell) if cell else 0.0 for cell in cells]
    except ValueError:
        return cells
    odd = next((cell for cell, value in zip(cells, values, strict=True) if value % 1), None)
    if odd is not None:
        raise ConfigError(
            f"{origin}: the labels are numbers such as {shown(odd, 60)}, and regression is not "
            f"offered; write names of classes, or csv:{origin}:none if each number is a class"
        )
    return [cell.removesuffix(".0") for cell in cells]


def _from_flags(
    header: Sequence[str], rows: Sequence[Sequence[str]], places: Sequence[int]
) -> LabelCells:
    names = [tuple(header[at] for at in places if FLAGS[row[at].casefold()]) for row in rows]
    are_several = any(len(row) != 1 for row in names)
    kind = "of which an image may have several" if are_several else "of which each image has one"
    note = f"read the {len(places)} columns of 0 and 1 as classes, {kind}"
    notes = (note, *(_notes(names) if are_several else ()))
    return LabelCells(names, are_several, notes, tuple(header[at] for at in places))


def _from_list(cell: str, origin: str) -> tuple[str, ...]:
    names = _list_or_none(cell)
    if names is None:
        raise ConfigError(
            f"{origin}: the labels {shown(cell, 60)!r} are no list of names; write them as "
            "['cat', 'dog']"
        )
    return names


def _list_or_none(cell: str) -> tuple[str, ...] | None:
    """Reads a list as Python and JSON write it, which is how pandas stores a list in a cell.

    An array of NumPy, `['cat' 'dog']`, is none: to Python it would be the one text `catdog`.
    """
    try:
        values = ast.literal_eval(cell)
        kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(cell).readline)]
    except (ValueError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError):
        return None
    kinds = [kind for kind in kinds if kind != tokenize.NL]
    if (tokenize.STRING, tokenize.STRING) in itertools.pairwise(kinds):
        return None
    if not isinstance(values, list | tuple | set):
        return None
    if not all(isinstance(value, str | int) for value in values):
        return None
    return tuple(dict.fromkeys(str(value).strip() for value in values))


def _notes(names: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    most, none = max(map(len, names)), sum(not row for row in names)
    without = f"; {counted(none, 'image has', plural='images have')} none" if none else ""
    return (f"an image has up to {counted(most, 'label')}{without}",)


def _refuse_two_readings(cells: Sequence[str], origin: str) -> None:
    for name in _TELLING:
        cell = next((cell for cell in cells if str(SEPARATORS[name]) in cell), None)
        if cell is not None:
            raise ConfigError(
                f"{origin}: {shown(cell, 60)!r} can be one label or several; write "
                f"csv:{origin}:{name} for several, or csv:{origin}:none for one"
            )

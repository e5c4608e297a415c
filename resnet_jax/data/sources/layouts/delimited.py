"""The cells of a table that is a text file: what separates them, and where the rows begin."""

from __future__ import annotations

import csv
import io
import itertools
from typing import NamedTuple

from resnet_jax.buckets import AnyPath
from resnet_jax.data.sources.layouts.columns import has_files
from resnet_jax.errors import ConfigError, counted, shown

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "the character |"}
_SPACE = " "  # separates cells only where nothing else does: it is common within them
_OTHERS = (".xlsx", ".xls", ".ods", ".numbers", ".parquet", ".feather", ".pkl", ".json", ".jsonl")
_END = "END"

_Row = tuple[int, list[str]]


class Cells(NamedTuple):
    """A table.

    Attributes:
        header: The names of the columns.
        rows: The number of the line in which each row begins, from 1, and its cells.
        notes: Lines for the user.
    """

    header: list[str]
    rows: list[_Row]
    notes: tuple[str, ...] = ()


def read_cells(table: AnyPath) -> Cells:
    """Reads the cells of a table, whose first row has the names of its columns.

    They are separated by what stands in the first row and gives every row as many cells.

    Args:
        table: A text file, as pandas and spreadsheets write it.

    Raises:
        ConfigError: It cannot be read, is empty or damaged, or could be read in two ways.
    """
    if table.suffix.lower() in _OTHERS:
        raise ConfigError(f"{table} is not read; save it as CSV in UTF-8 (pandas: to_csv)")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{table} is not UTF-8 text; save it as CSV in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{table} cannot be read: {error.strerror or error}") from error
    first = text.strip("\r\n").partition("\n")[0]
    present = [one for one in _DELIMITERS if one in first]
    fitting = [one for one in present or [_SPACE] if _fits(text, one)]
    if len(fitting) > 1:
        fitting = [one for one in fitting if has_files(_split(text, one)[0][1])]
    if len(fitting) > 1:
        words = " or ".join(_DELIMITERS[one] for one in fitting)
        raise ConfigError(
            f"{table}: {words} could separate its cells; leave only one of them in its first row"
        )
    delimiter = fitting[0] if fitting else max(_DELIMITERS, key=first.count)
    (_, header), *rows = _checked(table, text, delimiter)
    named = _DELIMITERS.get(delimiter, "spaces")
    notes = () if delimiter == "," else (f"read the table as cells separated by {named}",)
    return Cells(header, rows, notes)


def _fits(text: str, delimiter: str) -> bool:
    """Whether every row has as many cells as the first one, and that several."""
    try:
        lines = _split(text, delimiter)
    except _OpenCellError:
        return False
    return len({len(cells) for _, cells in lines}) == 1 and len(lines[0][1]) > 1


class _OpenCellError(Exception):
    """A cell does not end; `row` is the number of the line in which its row begins."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


def _split(text: str, delimiter: str) -> list[_Row]:
    """Splits a text into the cells of its rows, without empty ones."""
    # A line behind the last one shows whether a quote is open there: it then lies within.
    source = itertools.chain(io.StringIO(text, newline=""), [_END])
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=True)
    lines: list[_Row] = []
    begin = 1
    try:
        for cells in reader:
            if any(cells):  # spreadsheets leave rows of empty cells
                lines.append((begin, [cell.strip() for cell in cells]))
            begin = reader.line_num + 1
    except csv.Error:  # a cell is longer than the module's limit
        raise _OpenCellError(begin) from None
    number, last = lines.pop()
    if last != [_END]:
        raise _OpenCellError(number)
    return lines


def _checked(table: AnyPath, text: str, delimiter: str) -> list[_Row]:
    try:
        lines = _split(text, delimiter)
    except _OpenCellError as error:
        raise ConfigError(
            f"{table}, row {error.row}: a cell does not end, or has more than "
            f"{csv.field_size_limit():,} characters; close its quote, or write two for one that "
            "belongs to the cell"
        ) from None
    if not lines:
        raise ConfigError(f"{table} is empty; write the names of its columns, such as file,label")
    if len(lines) < 2:
        raise ConfigError(f"{table} has no rows below the names of its columns; add some")
    (_, header), *rows = lines
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ConfigError(f"{table} has several columns {repeated[0]!r}; rename or remove one")
    number, cells = rows[0]
    if len(header) == 1 < len(cells):
        raise ConfigError(
            f"{table}: its first row, {shown(header[0], 60)!r}, has 1 cell and row {number} "
            f"{len(cells)}; the names of the columns belong into the first row"
        )
    for number, cells in rows:
        if len(cells) != len(header):
            raise ConfigError(
                f"{table}, row {number}: {counted(len(cells), 'cell')} for "
                f"{counted(len(header), 'column')}; put cells that contain the separator between "
                "quotes"
            )
    return lines

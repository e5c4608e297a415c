"""Image files with their labels in a table: `csv:PATH`, as pandas writes it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from resnet_jax.buckets import AnyPath
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.files import FileCache, open_folder
from resnet_jax.data.sources.layouts.cells import (
    SEPARATORS,
    LabelCells,
    read_labels,
    split_separator,
)
from resnet_jax.data.sources.layouts.columns import Columns, choose_columns, split_reader
from resnet_jax.data.sources.layouts.delimited import read_cells
from resnet_jax.data.sources.layouts.layout import (
    ALL,
    Classes,
    Layout,
    LayoutReading,
    label_files,
    label_sets,
)
from resnet_jax.data.sources.layouts.places import Places
from resnet_jax.data.sources.splits import split_named
from resnet_jax.errors import ConfigError, shown
from resnet_jax.local_paths import user_path

_INTEGER = re.compile(r"-?[0-9]+")


class CsvFiles:
    """The files that a table names, relative to its folder.

    Args:
        path: The table, on this machine or in a bucket; `PATH:pipe` and so on say what stands
            between the labels of a file (`cells.SEPARATORS`).
        cache: Keeps what is read from a bucket.

    Raises:
        ConfigError: There is no such file.

    Attributes:
        table: The table.
        separator: The name of what stands between labels; None if nothing was said.
    """

    def __init__(self, path: str, *, cache: FileCache) -> None:
        place, self.separator = split_separator(path)
        self.table = user_path(place)
        if not self.table.is_file():
            raise ConfigError(f"data.name='csv:{path}': {_why_not_a_table(self.table, path)}")
        self._files = open_folder(self.table.parent, cache=cache)
        self.origin = self._files.origin

    def names(self) -> list[str]:
        """Lists all files of the folder, also those that the table does not name."""
        return self._files.names()

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._files.has(name)

    def expect(self, names: Iterable[str]) -> None:
        """Begins to fetch files that will soon be read, where that takes time."""
        self._files.expect(names)

    def read(self, name: str) -> bytes:
        """Reads a whole file."""
        return self._files.read(name)


def _why_not_a_table(table: AnyPath, path: str) -> str:
    if table.is_dir():
        return f"it is a folder; write csv:{path}/labels.csv or whatever its table is called"
    place, _, name = path.rpartition(":")
    if place and user_path(place).is_file():
        return f"{name!r} is no separator of labels; give {', '.join(SEPARATORS)}"
    return "there is no such file"


class _Row(NamedTuple):
    number: int
    file: str
    labels: tuple[str, ...]
    split: str


def read_table(
    files: CsvFiles, *, seed: int = 0, bad_examples: BadExamples | None = None
) -> Layout:
    """Reads classes and splits from a table with the columns file, label and, optionally, split.

    The columns may have other usual names (`columns.choose_columns`). A file may be written without
    its extension or its folder, where only one of this name lies below the folder of the table.

    Args:
        files: The table and its files.
        seed: As for `read_paths`.
        bad_examples: Takes rows that are skipped; None stops at the first.

    Returns:
        The classes and the files of each split.

    Raises:
        ConfigError: The table cannot be read, a file is missing or stands in two rows, or columns
            could be read in two ways.
    """
    reading = LayoutReading(files, bad_examples, splits_by="column split", table=str(files.table))
    header, lines, read_as = read_cells(files.table)
    cells = [cells for _, cells in lines]
    columns = choose_columns(header, cells, origin=str(files.table))
    labels = read_labels(header, cells, columns, separator=files.separator, origin=str(files.table))
    reading.notes.extend((*read_as, *columns.notes, *labels.notes))
    places = Places(files)
    named = ((number, row[columns.file]) for number, row in lines)
    places.check_absolute(named, table=str(files.table))
    members: dict[str, _Row] = {}
    for row in _rows(files, header, lines, columns, labels):
        file, problem = places.find(row.file)
        if problem is None and not row.labels and not labels.are_several:
            problem = "it has no label"
        if problem is None and file in members:
            problem = _twice(files.table, members[file], row)
        if problem is not None:
            reading.refuse(shown(row.file), f"row {row.number} of {files.table.name}: {problem}")
        else:
            members[file] = row
    if not members:
        raise ConfigError(f"{files.table} has no row that can be used; add some")
    reading.notes.extend((*places.notes(), *_unread_notes(files.table, columns)))
    numbers = all(_INTEGER.fullmatch(label) for row in members.values() for label in row.labels)
    order = int if numbers else str
    if labels.are_several:
        several: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for file, row in members.items():
            several[row.split][file] = row.labels
        return label_sets(reading, several, seed=seed, order=order, classes=labels.classes)
    found: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    for file, row in members.items():
        found[row.split][row.labels[0]].append(file)
    return label_files(reading, found, seed=seed, order=order, classes=labels.classes)


def _unread_notes(table: AnyPath, columns: Columns) -> Iterator[str]:
    """Names a table of another split that lies next to one of the training images."""
    if columns.split is not None or split_named(table.stem) != "train":
        return
    for word in ("val", "valid", "validation", "dev", "test"):
        other = table.with_name(f"{word}{table.suffix}")
        if other.is_file():
            yield f"{other.name} is not read: for its images, join both tables with a column split"


def _rows(
    files: CsvFiles,
    header: list[str],
    lines: list[tuple[int, list[str]]],
    columns: Columns,
    labels: LabelCells,
) -> Iterator[_Row]:
    split_of = None
    if columns.split is not None:
        cells = [cells[columns.split] for _, cells in lines]
        split_of = split_reader(header[columns.split], cells, origin=str(files.table))
    for (number, cells), names in zip(lines, labels.names, strict=True):
        split = ALL if split_of is None else split_of(cells[columns.split or 0])
        yield _Row(number, cells[columns.file], names, split)


def _twice(table: AnyPath, first: _Row, second: _Row) -> str:
    """Says that a file stands in two rows; if they differ, nobody can say which one holds."""
    if (first.labels, first.split) == (second.labels, second.split):
        return f"the file stands in row {first.number} as well"
    one, other = ", ".join(first.labels), ", ".join(second.labels)
    if one == other:
        one, other = first.split, second.split
    raise ConfigError(
        f"{table}: {second.file} is {one!r} in row {first.number} and {other!r} in row "
        f"{second.number}; remove one of the rows, or write several labels into one (docs/data.md)"
    )

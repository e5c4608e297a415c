"""Image files with their labels in a table: `csv:PATH`, as pandas writes it."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from resnet_jax.buckets import AnyPath
from resnet_jax.data.image_names import EXTENSIONS, is_image, is_litter, unread_format
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.files import FileCache, open_folder
from resnet_jax.data.sources.layouts.cells import (
    SEPARATORS,
    LabelCells,
    read_labels,
    split_separator,
)
from resnet_jax.data.sources.layouts.columns import Columns, choose_columns, split_reader
from resnet_jax.data.sources.layouts.layout import (
    ALL,
    Classes,
    Layout,
    LayoutReading,
    label_files,
    label_sets,
)
from resnet_jax.errors import ConfigError, shown
from resnet_jax.local_paths import user_path

_DELIMITERS = ",;\t"
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
    header, lines = _read_cells(files.table)
    cells = [cells for _, cells in lines]
    columns = choose_columns(header, cells, origin=str(files.table))
    labels = read_labels(header, cells, columns, separator=files.separator, origin=str(files.table))
    reading.notes.extend((*columns.notes, *labels.notes))
    places = _Places(files)
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
    reading.notes.extend(places.notes())
    numbers = all(_INTEGER.fullmatch(label) for row in members.values() for label in row.labels)
    order = int if numbers else str
    if labels.are_several:
        several: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
        for file, row in members.items():
            several[row.split][file] = row.labels
        return label_sets(reading, several, seed=seed, order=order)
    found: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    for file, row in members.items():
        found[row.split][row.labels[0]].append(file)
    return label_files(reading, found, seed=seed, order=order)


def _read_cells(table: AnyPath) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Reads the header, and every other row with its number in the file."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{table} is not UTF-8 text; save it as CSV in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{table} cannot be read: {error.strerror or error}") from error
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except csv.Error as error:
        raise ConfigError(f"{table}, row {reader.line_num}: {error}; save it anew") from error
    if not lines:
        raise ConfigError(f"{table} is empty; write the names of its columns, such as file,label")
    if len(lines) < 2:
        raise ConfigError(f"{table} has no rows below the names of its columns; add some")
    (_, header), *rows = lines
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ConfigError(f"{table} has several columns {repeated[0]!r}; rename or remove one")
    for number, cells in rows:
        if len(cells) != len(header):
            raise ConfigError(
                f"{table}, row {number}: {len(cells)} cells for {len(header)} columns; put cells "
                "that contain the separator between quotes"
            )
    return header, rows


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


class _Places:
    """Finds the files of a table."""

    def __init__(self, files: CsvFiles) -> None:
        self._files = files
        self._by_name: dict[str, list[str]] | None = None
        self._moved: list[tuple[str, str]] = []

    def find(self, written: str) -> tuple[str, str | None]:
        """Returns the path of a file relative to the table's folder, and what is wrong with it."""
        name = written.replace("\\", "/").removeprefix("./").removeprefix(f"{self._files.origin}/")
        if not name:
            return name, "it names no file"
        if not self._files.has(name):
            found = self._search(name)
            if len(found) > 1:
                return name, f"the file could be {found[0]} or {found[1]}; write the whole path"
            if not found:
                return name, f"there is no such file; paths are relative to {self._files.origin}"
            self._moved.append((written, found[0]))
            name = found[0]
        if not is_image(name):
            return name, unread_format(name) or "it is not an image by its name"
        return name, None

    def notes(self) -> list[str]:
        """Says how files were found that do not lie where the table says."""
        if not self._moved:
            return []
        written, found = self._moved[0]
        return [f"found {len(self._moved)} files by their names, such as {written} as {found}"]

    def _search(self, name: str) -> list[str]:
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in sorted(self._files.names()):
                if is_image(path) and not is_litter(path):
                    last = path.rpartition("/")[2]
                    for key in {last, last.rpartition(".")[0]}:
                        self._by_name[key].append(path)
        return [
            path
            for path in self._by_name.get(name.rpartition("/")[2], [])
            if f"/{path}".endswith(f"/{name}")
            or any(f"/{path}".lower().endswith(f"/{name}{end}".lower()) for end in EXTENSIONS)
        ]

"""Where the files lie that a table names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from resnet_jax.data.image_names import EXTENSIONS, is_image, is_litter, unread_format
from resnet_jax.data.sources.files import Files
from resnet_jax.errors import ConfigError, counted, shown

# A root, a drive, a share of Windows, the home folder; and an address.
_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\w+://")
_ADDRESS = re.compile(r"\w{2,}://")


class Places:
    """Finds the files of a table.

    Args:
        files: Those of its folder.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._by_name: dict[str, list[str]] | None = None
        self._by_key: dict[int | str, list[str]] | None = None
        self._moved: list[tuple[str, str]] = []

    def find(self, written: str) -> tuple[str, str | None]:
        """Returns the path of a file relative to the table's folder, and what is wrong with it."""
        name = self._relative(written)
        if not name:
            return name, "it names no file"
        if not self._files.has(name):
            found = self._search(name)
            if len(found) > 1:
                return name, f"the file could be {found[0]} or {found[1]}; write the whole path"
            if not found:
                return name, self._missing(name)
            self._moved.append((written, found[0]))
            name = found[0]
        if not is_image(name):
            return name, unread_format(name) or "it is not an image by its name"
        return name, None

    def check_absolute(self, rows: Iterable[tuple[int, str]], *, table: str) -> None:
        """Refuses a table whose absolute paths are all those of another machine.

        Args:
            rows: The number of each row, and what it names.
            table: The table, for the message.

        Raises:
            ConfigError: They are; the message names the first one.
        """
        absolute = [(number, written) for number, written in rows if _ABSOLUTE.match(written)]
        if not absolute or any(self._files.has(self._relative(name)) for _, name in absolute):
            return
        number, written = absolute[0]
        what = "is an address" if _ADDRESS.match(written) else "is an absolute path"
        many = f", as in {counted(len(absolute), 'row')}," if len(absolute) > 1 else ""
        raise ConfigError(
            f"{table}, row {number}: {shown(written)} {what}{many} and there is no such file here; "
            f"{self._remedy(written)}"
        )

    def notes(self) -> list[str]:
        """Says how files were found that do not lie where the table says."""
        if not self._moved:
            return []
        written, found = self._moved[0]
        files = counted(len(self._moved), "file")
        return [f"found {files} by name, such as {written} as {found}"]

    def _relative(self, written: str) -> str:
        name = written.replace("\\", "/").removeprefix("./")
        return name.removeprefix(f"{self._files.origin}/")

    def _remedy(self, written: str) -> str:
        """Says how to make an absolute path relative, with what is in the folder of the table."""
        parts = self._relative(written).split("/")
        tails = ("/".join(parts[start:]) for start in range(1, len(parts)))
        tail = next((tail for tail in tails if tail and self._files.has(tail)), None)
        if tail is not None:
            front = shown(written[: -len(tail)])
            return f"remove {front!r} from the front of its paths: {tail} lies next to the table"
        found = self._search(parts[-1])
        where = f", such as {found[0]}" if len(found) == 1 else ""
        return f"write paths relative to {self._files.origin}{where}"

    def _missing(self, name: str) -> str:
        """Says that a file is missing; and which one is there under nearly this name."""
        number = _number(name)
        for found in self._alike().get(_stem(name).casefold() if number is None else number, ()):
            if _ends_alike(found, name):
                return f"there is no such file, but {found}; write it as it is called"
            if _stem(found) != _stem(name):
                return (
                    f"there is no such file, but {found}: pandas and spreadsheets read such names "
                    "as numbers; read and write the table with dtype=str"
                )
        return f"there is no such file; paths are relative to {self._files.origin}"

    def _search(self, name: str) -> list[str]:
        last = name.rpartition("/")[2]
        return [
            path
            for path in self._listed().get(last, [])
            if f"/{path}".endswith(f"/{name}")
            or any(f"/{path}".lower().endswith(f"/{name}{end}".lower()) for end in EXTENSIONS)
        ]

    def _alike(self) -> dict[int | str, list[str]]:
        """Gives the images by the numbers that are their names, or by their names in any case."""
        if self._by_key is None:
            self._by_key = defaultdict(list)
            for path in sorted({path for found in self._listed().values() for path in found}):
                number = _number(path)
                self._by_key[_stem(path).casefold() if number is None else number].append(path)
        return self._by_key

    def _listed(self) -> dict[str, list[str]]:
        """Gives the images by the last part of their paths, with extension and without."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in sorted(self._files.names()):
                if is_image(path) and not is_litter(path):
                    last = path.rpartition("/")[2]
                    for key in {last, last.rpartition(".")[0]}:
                        self._by_name[key].append(path)
        return self._by_name


def _stem(path: str) -> str:
    """Returns the last part of a path, without the extension of an image."""
    last = path.rpartition("/")[2]
    return last.rpartition(".")[0] if is_image(last) else last


def _ends_alike(path: str, written: str) -> bool:
    """Whether a path ends with another one, in any case and with any extension of images."""
    whole, end = (
        f"/{one.rpartition('.')[0] if is_image(one) else one}".casefold() for one in (path, written)
    )
    return whole.endswith(end)


def _number(path: str) -> int | None:
    """Reads the name of a file as a number: `123`, `123.0`, `a/00123.jpg`; None if it is none."""
    stem = _stem(path).removesuffix(".0")
    return int(stem) if stem.isdecimal() else None

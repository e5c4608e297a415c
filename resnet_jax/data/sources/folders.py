"""Images in folders, one folder a class, on disk or in a zip archive."""

from __future__ import annotations

import hashlib
import pkgutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from resnet_jax.data.images.decode import BadImageError
from resnet_jax.data.images.record import Record
from resnet_jax.data.source_names import source_kind
from resnet_jax.data.sources.bad_examples import REMEDY, BadExamples
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.files import Files
from resnet_jax.data.sources.splits import select_split
from resnet_jax.errors import ConfigError, nearest

SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
"""The names of folders that are splits, and the splits that they are."""

HELD_OUT = 0.1
"""Where no folder is a split: the share of each class for validation, and again for test."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


@dataclass(frozen=True)
class Layout:
    """What lies in the folders.

    Attributes:
        class_names: The names of the classes, sorted.
        splits: For each split its files with their labels, in an order that a seed decides, so
            that a part of a split is a random sample of it.
    """

    class_names: tuple[str, ...]
    splits: dict[str, list[tuple[str, int]]]


class FileSource(Source):
    """Labelled image files.

    Args:
        files: Where the files lie.
        entries: Names of files with their labels.
        class_names: The name of each label.
        channels: 1 or 3, to which the images are converted.
        bad_examples: Takes the examples that are skipped; None stops at the first.
    """

    def __init__(
        self,
        files: Files,
        entries: list[tuple[str, int]],
        class_names: tuple[str, ...],
        *,
        channels: int = 3,
        bad_examples: BadExamples | None = None,
    ) -> None:
        self._files = files
        self._entries = entries
        self.class_names = class_names
        self.channels = channels
        self.image_shape = None
        self.bad_examples = bad_examples

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, index: int) -> Record:
        """Reads the file at `index`."""
        name, label = self._entries[index]
        return Record(self._files.read(name), label)

    def name(self, index: int) -> str:
        """Gives the path of the file at `index`."""
        return f"{self._files.origin}/{self._entries[index][0]}"


def open_files(name: str) -> Files:
    """Opens the files of a source that is made of files, such as `folder:PATH`."""
    kind = source_kind(name)
    assert kind is not None
    assert kind.files is not None
    files: Files = pkgutil.resolve_name(kind.files)(name.partition(":")[2])
    return files


def open_file_split(
    name: str, split: str, *, channels: int | None, bad_examples: BadExamples | None
) -> FileSource:
    """Opens one split of labelled files.

    Args:
        name: One of `resnet_jax.data.source_names.FILE_FORMS`, such as `folder:PATH`.
        split: A split in TFDS syntax.
        channels: 1 or 3; None for 3.
        bad_examples: Takes the examples that are skipped; None stops at the first.
    """
    files = open_files(name)
    layout = read_layout(files, bad_examples=bad_examples)
    entries = select_split(layout.splits, split, origin=files.origin)
    return FileSource(
        files,
        entries,
        layout.class_names,
        channels=channels or 3,
        bad_examples=bad_examples,
    )


def read_layout(files: Files, *, seed: int = 0, bad_examples: BadExamples | None = None) -> Layout:
    """Finds classes and splits in paths `SPLIT/CLASS/FILE`, or `CLASS/FILE` with a seeded split.

    A single folder around everything is looked through. Hidden files and what file managers leave
    behind are passed over. Files below a class may lie in further folders.

    Args:
        files: The files.
        seed: Decides the order of the files and, where no folder is a split, the splits: a tenth of
            each class for validation, a tenth for test, the rest for training.
        bad_examples: Takes files and classes that are skipped; None stops at the first.

    Returns:
        The classes and the files of each split.

    Raises:
        ConfigError: A class has no images, a file is no image, a split has a class that `train` has
            not, or nothing fits the layout.
    """
    # Sorted, since the order of a listing may differ from machine to machine.
    names = sorted(name for name in files.names() if not _is_litter(name))
    prefix = _common_folder(names)
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    top = {name[len(prefix) :].split("/")[0] for name in names}
    has_splits = "train" in top
    for name in names:
        parts = name[len(prefix) :].split("/")
        split = SPLITS.get(parts[0]) if has_splits else "all"
        depth = 2 if has_splits else 1
        if split is None or len(parts) <= depth:
            if not name.endswith("/"):
                _refuse(files, name, "the file lies in no folder of a class", bad_examples)
            continue
        members = found[split][parts[depth - 1]]
        if name.endswith("/"):
            continue
        if PurePosixPath(name).suffix.lower() in EXTENSIONS:
            members.append(name)
        else:
            _refuse(files, name, "the file is no image by its name", bad_examples)
    if not found:
        raise ConfigError(
            f"{files.origin} has no folders of classes; lay the files out as train/CLASS/FILE and "
            "test/CLASS/FILE, or as CLASS/FILE"
        )
    return _label(files, found, seed, bad_examples)


def _label(
    files: Files,
    found: dict[str, dict[str, list[str]]],
    seed: int,
    bad_examples: BadExamples | None,
) -> Layout:
    class_names = tuple(sorted(found["train" if "train" in found else "all"]))
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for split, classes in found.items():
        for name, members in sorted(classes.items()):
            if name not in labels:
                hint = nearest(name, labels).strip()
                reason = f"the class {name!r} is none of train" + (f" ({hint})" if hint else "")
                _refuse(files, f"{split}/{name}", reason, bad_examples)
            elif not members:
                _refuse(files, f"{split}/{name}", "the class has no images", bad_examples)
            else:
                for part, chosen in _cut(split, _shuffled(members, seed)).items():
                    splits[part].extend((member, labels[name]) for member in chosen)
    ordered = {
        split: sorted(entries, key=lambda entry: _rank(entry[0], seed))
        for split, entries in splits.items()
    }
    return Layout(class_names, ordered)


def _cut(split: str, members: list[str]) -> dict[str, list[str]]:
    if split != "all":
        return {split: members}
    held_out = round(len(members) * HELD_OUT)
    return {
        "train": members[2 * held_out :],
        "validation": members[:held_out],
        "test": members[held_out : 2 * held_out],
    }


def _refuse(files: Files, name: str, reason: str, bad_examples: BadExamples | None) -> None:
    full_name = f"{files.origin}/{name.rstrip('/')}"
    if bad_examples is None:
        raise BadImageError(f"{full_name}: {reason}; {REMEDY}")
    bad_examples.add(full_name, reason)


def _shuffled(names: list[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: _rank(name, seed))


def _rank(name: str, seed: int) -> bytes:
    text = f"{seed}:{name}".encode(errors="surrogateescape")  # a name may be any bytes
    return hashlib.blake2b(text, digest_size=8).digest()


def _is_litter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in name.split("/") if part)


def _common_folder(names: list[str]) -> str:
    """The single folder around everything with a `/` at the end, or nothing."""
    prefix = ""
    while True:
        rest = {name[len(prefix) :].split("/")[0] for name in names if name != prefix}
        if len(rest) != 1 or rest & SPLITS.keys():
            return prefix
        inner = f"{prefix}{rest.pop()}/"
        if not all(name.startswith(inner) for name in names if name != prefix):
            return prefix  # the one thing is a file
        prefix = inner

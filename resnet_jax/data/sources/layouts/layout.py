"""Splits and classes of files, and what is held back where the files have no splits."""

from __future__ import annotations

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import Label
from resnet_jax.data.sources.bad_examples import REMEDY, BadExamples
from resnet_jax.data.sources.files import Files
from resnet_jax.errors import ConfigError, nearest, shown

HELD_OUT = 0.1
"""Where the files have no splits: the share of each class for validation, and again for test."""

FEWEST = 5
"""Images of a class from which one is held back for each of them."""

ALL = "all"
"""Stands for the split of files that have none."""

LISTED = 3
"""Names that a line lists."""

Classes = dict[str, list[str]]
"""The files of each class."""


@dataclass(frozen=True)
class Layout:
    """What lies in the files.

    Attributes:
        class_names: The names of the classes, sorted.
        splits: For each split its files with their labels, in an order that a seed decides, so
            that a part of a split is a random sample of it.
        is_multi_label: Whether a file may have several labels, or none.
        notes: Lines for the user: what was inferred, and what was left out.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, Sequence[tuple[str, Label]]]
    notes: tuple[str, ...] = ()
    is_multi_label: bool = False


@dataclass
class LayoutReading:
    """What is known while a layout is read.

    Attributes:
        files: The files.
        bad_examples: Takes files and classes that are skipped; None stops at the first.
        splits_by: What would say which split a file belongs to, for notes and messages.
        table: The table that names the files, if one does.
        notes: Lines for the user.
        folders: The folder of each split and class, where they are read from paths.
    """

    files: Files
    bad_examples: BadExamples | None
    splits_by: str
    table: str | None = None
    notes: list[str] = field(default_factory=list)
    folders: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What messages are about: the table, or the folder or archive of the files."""
        return self.table or self.files.origin

    def refuse(self, name: str, reason: str) -> None:
        """Stops at a file that cannot be used, or skips and lists it."""
        full_name = posixpath.join(self.files.origin, name.rstrip("/"))  # may be absolute
        if self.bad_examples is None:
            raise BadImageError(f"{full_name}: {reason}; {REMEDY}")
        self.bad_examples.add(full_name, reason)


def label_files(
    reading: LayoutReading,
    found: dict[str, Classes],
    *,
    seed: int,
    order: Callable[[str], Any] = str,
    classes: Iterable[str] | None = None,
) -> Layout:
    """Numbers the classes, and divides files without splits.

    Args:
        reading: The files.
        found: For each split, or for `ALL`, the files of each class.
        seed: Decides the order of the files and what is held back.
        order: What the names of the classes are sorted by.
        classes: All classes; None for those that have files in `train`.

    Raises:
        ConfigError: A class has no images, or `train` lacks the class of another split.
    """
    used = (
        found["train"] if "train" in found else {name for part in found.values() for name in part}
    )
    class_names = tuple(sorted(used if classes is None else classes, key=order))
    _check_names(reading, class_names)
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[tuple[str, int]]] = defaultdict(list)
    _note_held_out(reading, found.get(ALL, {}))
    for split, part in found.items():
        for name, members in sorted(part.items()):
            if name not in labels:
                hint = nearest(name, labels).strip()
                reason = f"the class {name!r} is none of train" + (f" ({hint})" if hint else "")
                reading.refuse(reading.folders.get((split, name)) or members[0], reason)
            elif not members:
                reading.refuse(reading.folders[split, name], "the class has no images")
            else:
                for place, chosen in _cut(split, shuffled(members, seed)).items():
                    splits[place].extend((member, labels[name]) for member in chosen)
    _note_absent(reading, class_names, {label for _, label in splits.get("train", ())})
    ordered = {
        split: sorted(entries, key=lambda entry: _rank(entry[0], seed))
        for split, entries in splits.items()
    }
    return Layout(class_names, ordered, tuple(reading.notes))


def label_sets(
    reading: LayoutReading,
    found: dict[str, dict[str, tuple[str, ...]]],
    *,
    seed: int,
    order: Callable[[str], Any] = str,
    classes: Iterable[str] | None = None,
) -> Layout:
    """Numbers the classes of files that may have several, and divides files without splits.

    Args:
        reading: The files.
        found: For each split, or for `ALL`, the classes of each file.
        seed: Decides the order of the files and what is held back.
        order: What the names of the classes are sorted by.
        classes: All classes; None for those that files of `train` have.

    Raises:
        ConfigError: There are no classes, or `train` lacks the class of another split.
    """
    named = [found["train"]] if "train" in found else list(found.values())
    used = {name for files in named for names in files.values() for name in names}
    class_names = tuple(sorted(used if classes is None else classes, key=order))
    _check_names(reading, class_names)
    labels = {name: label for label, name in enumerate(class_names)}
    if not used:
        raise ConfigError(f"{reading.origin}: no file has a class; give some of them one")
    splits: dict[str, list[tuple[str, Label]]] = defaultdict(list)
    trained: set[int] = set()
    if ALL in found:
        reading.notes.append(
            f"no {reading.splits_by}: a tenth of the images is held back for validation and a "
            "tenth for test"
        )
    for split, files in found.items():
        for part, chosen in _cut(split, shuffled(files, seed)).items():
            for file in chosen:
                odd = next((name for name in files[file] if name not in labels), None)
                if odd is None:
                    several = tuple(sorted(labels[name] for name in files[file]))
                    splits[part].append((file, several))
                    trained |= set(several) if part == "train" else set()
                else:
                    hint = nearest(odd, labels)
                    reading.refuse(file, f"the class {odd!r} is none of train{hint}")
    _note_absent(reading, class_names, trained)
    return Layout(class_names, splits, tuple(reading.notes), is_multi_label=True)


def _check_names(reading: LayoutReading, names: Iterable[str]) -> None:
    """Refuses names with control characters: later commands print one name a line, to terminals."""
    odd = next((name for name in names if any(category(c) == "Cc" for c in name)), None)
    if odd is not None:
        raise ConfigError(
            f"{reading.origin}: the name of the class {shown(odd, 60)!r} has a control character, "
            "such as a line end; rename the class"
        )


def _note_absent(reading: LayoutReading, class_names: Sequence[str], trained: set[int]) -> None:
    """Names the classes that no training image has."""
    absent = [repr(name) for label, name in enumerate(class_names) if label not in trained]
    if absent and trained:
        more = ", ..." if len(absent) > LISTED else ""
        noun = "class" if len(absent) == 1 else "classes"
        reading.notes.append(
            f"no training image has the {noun} {', '.join(absent[:LISTED])}{more}: the network "
            "cannot learn them"
        )


def _note_held_out(reading: LayoutReading, classes: Classes) -> None:
    """Says what is held back where the files have no splits."""
    if not classes:
        return
    few = {name: len(members) for name, members in classes.items() if 0 < len(members) < FEWEST}
    counts = ", ".join(f"{name} ({count})" for name, count in list(few.items())[:LISTED])
    counts += ", ..." if len(few) > LISTED else ""
    if few and not any(len(members) >= FEWEST for members in classes.values()):
        raise ConfigError(
            f"{reading.origin}: each class has fewer than {FEWEST} images, {counts}, so that "
            "none can be held back for validation and test; add images, or say which split each of "
            "them belongs to (docs/data.md)"
        )
    reading.notes.append(
        f"no {reading.splits_by}: a tenth of each class is held back for validation and a tenth "
        "for test"
    )
    if few:
        reading.notes.append(f"classes of fewer than {FEWEST} images are only trained on: {counts}")


def _cut(split: str, members: list[str]) -> dict[str, list[str]]:
    if split != ALL:
        return {split: members}
    held_out = max(round(len(members) * HELD_OUT), int(len(members) >= FEWEST))
    parts = {
        "train": members[2 * held_out :],
        "validation": members[:held_out],
        "test": members[held_out : 2 * held_out],
    }
    return {name: part for name, part in parts.items() if part}


def shuffled(names: Iterable[str], seed: int) -> list[str]:
    """Orders names by a seed, the same on every machine and whatever other names there are."""
    return sorted(names, key=lambda name: _rank(name, seed))


def _rank(name: str, seed: int) -> bytes:
    text = f"{seed}:{name}".encode(errors="surrogateescape")  # a name may be any bytes
    return hashlib.blake2b(text, digest_size=8).digest()

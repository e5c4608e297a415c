"""Splits and classes found in the paths of image files."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from resnet_jax.data.image_names import is_image, unread_format
from resnet_jax.data.images.decode import BadImageError
from resnet_jax.data.sources.bad_examples import REMEDY, BadExamples
from resnet_jax.data.sources.files import Files
from resnet_jax.data.sources.splits import is_filler, name_splits, split_named
from resnet_jax.errors import ConfigError, nearest

HELD_OUT = 0.1
"""Where no folder is a split: the share of each class for validation, and again for test."""

FEWEST = 5
"""Images of a class from which one is held back for each of them."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_ALL = "all"
_LISTED = 3

Classes = dict[str, list[str]]


@dataclass(frozen=True)
class Layout:
    """What lies in the folders.

    Attributes:
        class_names: The names of the classes, sorted.
        splits: For each split its files with their labels, in an order that a seed decides, so
            that a part of a split is a random sample of it.
        notes: Lines for the user: what was inferred, and what was left out.
    """

    class_names: tuple[str, ...]
    splits: dict[str, list[tuple[str, int]]]
    notes: tuple[str, ...] = ()


@dataclass
class _Reading:
    """What is known while the paths are read."""

    files: Files
    bad_examples: BadExamples | None
    notes: list[str] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        full_name = f"{self.files.origin}/{name.rstrip('/')}"
        if self.bad_examples is None:
            raise BadImageError(f"{full_name}: {reason}; {REMEDY}")
        self.bad_examples.add(full_name, reason)


def read_layout(files: Files, *, seed: int = 0, bad_examples: BadExamples | None = None) -> Layout:
    """Finds classes and splits in paths: `SPLIT/CLASS/FILE`, `CLASS/SPLIT/FILE` or `CLASS/FILE`.

    A single folder around everything is looked through, and so is one inside of a split. Splits
    may have their usual names in any case (`splits.split_named`). Hidden files and what file
    managers leave behind are passed over without a word, and files that are not images with a note.
    Files below a class may lie in further folders.

    Args:
        files: The files.
        seed: Decides the order of the files and, where no folder is a split, the splits: a tenth of
            each class for validation, a tenth for test, the rest for training.
        bad_examples: Takes files and classes that are skipped; None stops at the first.

    Returns:
        The classes and the files of each split.

    Raises:
        ConfigError: A class has no images, an image has a format that is not read, a split has a
            class that `train` has not, or nothing fits the layout.
    """
    reading = _Reading(files, bad_examples)
    # Sorted, since the order of a listing may differ from machine to machine.
    listed = sorted(name for name in files.names() if not _is_litter(name))
    names = [name for name in listed if name.endswith("/") or _is_of_image(reading, name)]
    _note_files(reading, [name for name in listed if not name.endswith("/") and not is_image(name)])
    prefix = _common_folder(names)
    found = _find(reading, {name: name[len(prefix) :].split("/") for name in names})
    return _label(reading, found, seed)


def _is_of_image(reading: _Reading, name: str) -> bool:
    reason = unread_format(name)
    if reason is not None:
        reading.refuse(name, reason)
    return is_image(name)


def _note_files(reading: _Reading, names: list[str]) -> None:
    names = [name for name in names if unread_format(name) is None]
    if names:
        more = ", ..." if len(names) > _LISTED else ""
        reading.notes.append(
            f"left out {len(names)} files that are not images by their names: "
            f"{', '.join(names[:_LISTED])}{more}"
        )


def _find(reading: _Reading, paths: dict[str, list[str]]) -> dict[str, Classes]:
    """Chooses the reading of the paths, and sorts the files by split and class."""
    tops = sorted({parts[0] for parts in paths.values() if len(parts) > 1})
    splits = [top for top in tops if split_named(top)]
    deep = {parts[0] for parts in paths.values() if len(parts) > 2 and parts[-1]}
    if deep & set(splits):
        return _by_split(reading, paths, splits)
    if splits and splits == tops:
        raise ConfigError(
            f"{reading.files.origin}: the folders {', '.join(tops)} are named as splits and hold "
            f"images without classes; put the images of each class into a folder of its own, as "
            f"{tops[0]}/CLASS/FILE, or write metadata.csv for hf:PATH (docs/data.md)"
        )
    if splits:
        reading.notes.append(
            f"read {', '.join(splits)} as classes like the other folders, since images lie "
            "directly in them"
        )
    inner = {parts[1] for parts in paths.values() if len(parts) > 2 and parts[-1]}
    if tops and inner and all(map(split_named, inner)) and deep == set(tops):
        meant = name_splits(sorted(inner), origin=reading.files.origin)
        reading.notes.append(f"read the folders inside of the classes as splits: {_list(meant)}")
        return _sort(reading, {name: _swapped(parts, meant) for name, parts in paths.items()})
    return _sort(reading, {name: [_ALL, *parts] for name, parts in paths.items()})


def _by_split(
    reading: _Reading, paths: dict[str, list[str]], splits: list[str]
) -> dict[str, Classes]:
    meant = name_splits(splits, origin=reading.files.origin)
    if any(name != split for name, split in meant.items()):
        reading.notes.append(f"read the folders as splits: {_list(meant)}")
    others = Counter(
        parts[0] for parts in paths.values() if len(parts) > 1 and parts[0] not in meant
    )
    for other, count in others.items():
        reading.notes.append(f"left out the folder {other} ({count} files): it is none of a split")
    sorted_paths: dict[str, list[str]] = {}
    for name in splits:
        inside = {path: parts for path, parts in paths.items() if parts[0] == name}
        inside = _unwrapped(inside, meant[name])
        images = [parts for parts in inside.values() if parts[-1]]
        if meant[name] != "train" and images and all(len(parts) == 2 for parts in images):
            reading.notes.append(
                f"left out the folder {name}: its {len(images)} images have no class"
            )
            continue
        sorted_paths |= {path: [meant[name], *parts[1:]] for path, parts in inside.items()}
    sorted_paths |= {path: parts for path, parts in paths.items() if len(parts) == 1}
    return _sort(reading, sorted_paths)


def _unwrapped(paths: dict[str, list[str]], split: str) -> dict[str, list[str]]:
    """Looks through a single folder inside of a split, such as `seg_train/seg_train/CLASS`."""
    inner = {parts[1] for parts in paths.values()}
    only = inner.pop() if len(inner) == 1 else ""
    wraps = only and (split_named(only) == split or is_filler(only))
    if wraps and all(len(parts) > 3 for parts in paths.values()):
        return {path: [parts[0], *parts[2:]] for path, parts in paths.items()}
    return paths


def _swapped(parts: list[str], meant: dict[str, str]) -> list[str]:
    return [meant[parts[1]], parts[0], *parts[2:]] if len(parts) > 2 else parts


def _sort(reading: _Reading, paths: dict[str, list[str]]) -> dict[str, Classes]:
    """Sorts files by split and class; each path begins with its split, unless it has no class."""
    found: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    stray = [name for name, parts in paths.items() if parts[-1] and len(parts) < 3]
    if stray and len(stray) == len(paths):
        raise ConfigError(
            f"{reading.files.origin} has images ({len(stray)}) and no folders of classes; put the "
            "images of each class into a folder of its own, as CLASS/FILE, or write "
            "metadata.csv for hf:PATH (docs/data.md)"
        )
    for name in stray:
        reading.refuse(name, "the file lies in no folder of a class")
    for name, parts in paths.items():
        if len(parts) >= 3:
            members = found[parts[0]][parts[1]]
            if parts[-1]:
                members.append(name)
    if not found:
        raise ConfigError(
            f"{reading.files.origin} has no folders of classes; lay the files out as "
            "train/CLASS/FILE and test/CLASS/FILE, or as CLASS/FILE"
        )
    return found


def _label(reading: _Reading, found: dict[str, Classes], seed: int) -> Layout:
    named = (
        found["train"] if "train" in found else {name for part in found.values() for name in part}
    )
    class_names = tuple(sorted(named))
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[tuple[str, int]]] = defaultdict(list)
    _note_held_out(reading, found.get(_ALL, {}))
    for split, classes in found.items():
        for name, members in sorted(classes.items()):
            if name not in labels:
                hint = nearest(name, labels).strip()
                reason = f"the class {name!r} is none of train" + (f" ({hint})" if hint else "")
                reading.refuse(f"{split}/{name}", reason)
            elif not members:
                reading.refuse(f"{split}/{name}", "the class has no images")
            else:
                for part, chosen in _cut(split, shuffled(members, seed)).items():
                    splits[part].extend((member, labels[name]) for member in chosen)
    ordered = {
        split: sorted(entries, key=lambda entry: _rank(entry[0], seed))
        for split, entries in splits.items()
    }
    return Layout(class_names, ordered, tuple(reading.notes))


def _note_held_out(reading: _Reading, classes: Classes) -> None:
    """Says what is held back where no folder is a split."""
    if not classes:
        return
    few = {name: len(members) for name, members in classes.items() if 0 < len(members) < FEWEST}
    counts = ", ".join(f"{name} ({count})" for name, count in list(few.items())[:_LISTED])
    counts += ", ..." if len(few) > _LISTED else ""
    if few and not any(len(members) >= FEWEST for members in classes.values()):
        raise ConfigError(
            f"{reading.files.origin}: each class has fewer than {FEWEST} images, {counts}, so that "
            "none can be held back for validation and test; add images, or lay them out as "
            "train/CLASS, val/CLASS and test/CLASS"
        )
    reading.notes.append(
        "no folder is a split: a tenth of each class is held back for validation and a tenth for "
        "test"
    )
    if few:
        reading.notes.append(f"classes of fewer than {FEWEST} images are only trained on: {counts}")


def _cut(split: str, members: list[str]) -> dict[str, list[str]]:
    if split != _ALL:
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


def _list(meant: dict[str, str]) -> str:
    return ", ".join(f"{name} is {split}" for name, split in meant.items())


def _is_litter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _LITTER for part in name.split("/") if part)


def _common_folder(names: list[str]) -> str:
    """The single folder around all folders of classes with a `/` at the end, or nothing."""
    prefix = ""
    while True:
        rest = [name[len(prefix) :].split("/") for name in names if name != prefix]
        tops = {parts[0] for parts in rest}
        if len(tops) != 1 or min(map(len, rest)) < 3 or split_named(next(iter(tops))):
            return prefix
        prefix += f"{tops.pop()}/"

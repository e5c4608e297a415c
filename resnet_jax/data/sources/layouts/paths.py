"""Splits and classes found in the paths of image files."""

from __future__ import annotations

from collections import Counter, defaultdict

from resnet_jax.data.image_names import is_image, is_litter, no_images, unread_format
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.files import Files
from resnet_jax.data.sources.files.archive import ZipFiles
from resnet_jax.data.sources.layouts.layout import (
    ALL,
    LISTED,
    Classes,
    Layout,
    LayoutReading,
    label_files,
)
from resnet_jax.data.sources.splits import is_filler, name_splits, split_named
from resnet_jax.errors import ConfigError, counted, noun_for

_SEVERAL = "are named as splits and hold"


def read_paths(files: Files, *, seed: int = 0, bad_examples: BadExamples | None = None) -> Layout:
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
    reading = LayoutReading(files, bad_examples, splits_by="folder is a split")
    # Sorted, since the order of a listing may differ from machine to machine.
    listed = sorted(name for name in files.names() if not is_litter(name))
    names = [name for name in listed if name.endswith("/") or _is_of_image(reading, name)]
    _note_files(reading, [name for name in listed if not name.endswith("/") and not is_image(name)])
    prefix = _common_folder(names)
    found = _find(reading, {name: name[len(prefix) :].split("/") for name in names})
    return label_files(reading, found, seed=seed)


def _is_of_image(reading: LayoutReading, name: str) -> bool:
    reason = unread_format(name)
    if reason is not None:
        reading.refuse(name, reason)
    return is_image(name)


def _note_files(reading: LayoutReading, names: list[str]) -> None:
    names = [name for name in names if unread_format(name) is None]
    if names:
        more = ", ..." if len(names) > LISTED else ""
        reading.notes.append(f"left out {no_images(len(names))}: {', '.join(names[:LISTED])}{more}")


def _find(reading: LayoutReading, paths: dict[str, list[str]]) -> dict[str, Classes]:
    """Chooses the reading of the paths, and sorts the files by split and class."""
    tops = sorted({parts[0] for parts in paths.values() if len(parts) > 1})
    splits = [top for top in tops if split_named(top)]
    deep = {parts[0] for parts in paths.values() if len(parts) > 2 and parts[-1]}
    if deep & set(splits):
        return _by_split(reading, paths, splits)
    if splits and splits == tops:
        raise ConfigError(
            f"{reading.files.origin}: the {noun_for(len(tops), 'folder')} {', '.join(tops)} "
            f"{noun_for(len(tops), 'is named as a split and holds', plural=_SEVERAL)} images "
            f"without classes; put the images of each class into a folder of its own, as "
            f"{tops[0]}/CLASS/FILE, {_table_remedy(reading)}"
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
    return _sort(reading, {name: [ALL, *parts] for name, parts in paths.items()})


def _by_split(
    reading: LayoutReading, paths: dict[str, list[str]], splits: list[str]
) -> dict[str, Classes]:
    meant = name_splits(splits, origin=reading.files.origin)
    if any(name != split for name, split in meant.items()):
        reading.notes.append(f"read the folders as splits: {_list(meant)}")
    others = Counter(
        parts[0] for parts in paths.values() if len(parts) > 1 and parts[0] not in meant
    )
    for other, count in others.items():
        reading.notes.append(
            f"left out the folder {other} ({counted(count, 'file')}): it is none of a split"
        )
    sorted_paths: dict[str, list[str]] = {}
    for name in splits:
        inside = {path: parts for path, parts in paths.items() if parts[0] == name}
        inside = _unwrapped(inside, meant[name])
        images = [parts for parts in inside.values() if parts[-1]]
        if meant[name] != "train" and images and all(len(parts) == 2 for parts in images):
            reading.notes.append(
                f"left out the folder {name}: no class for {counted(len(images), 'image')} in it"
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


def _sort(reading: LayoutReading, paths: dict[str, list[str]]) -> dict[str, Classes]:
    """Sorts files by split and class; each path begins with its split, unless it has no class."""
    found: dict[str, Classes] = defaultdict(lambda: defaultdict(list))
    stray = [name for name, parts in paths.items() if parts[-1] and len(parts) < 3]
    if stray and len(stray) == len(paths):
        raise ConfigError(
            f"{reading.files.origin} has images ({len(stray)}) and no folders of classes; put the "
            "images of each class into a folder of its own, as CLASS/FILE, "
            f"{_table_remedy(reading)}"
        )
    for name in stray:
        reading.refuse(name, "the file lies in no folder of a class")
    for name, parts in paths.items():
        if len(parts) >= 3:
            members = found[parts[0]][parts[1]]
            folder = name.removesuffix("/".join(parts[2:])).rstrip("/")
            reading.folders.setdefault((parts[0], parts[1]), folder)
            if parts[-1]:
                members.append(name)
    if not found:
        raise ConfigError(
            f"{reading.files.origin} has no folders of classes; lay the files out as "
            "train/CLASS/FILE and test/CLASS/FILE, or as CLASS/FILE"
        )
    return found


def _table_remedy(reading: LayoutReading) -> str:
    """Says how to give the labels in a table; names one that lies next to the images."""
    tables = [
        name
        for name in sorted(reading.files.names())
        if name.lower().endswith((".csv", ".tsv")) and not is_litter(name)
    ]
    if not tables:
        return "or their labels into a table for csv:PATH (docs/data.md)"
    named = next((name for name in tables if "train" in name or "label" in name), tables[0])
    if isinstance(reading.files, ZipFiles):
        return f"or unpack the archive and take the labels from its table {named}, with csv:PATH"
    return f"or take the labels from a table that lies there: csv:{reading.files.origin}/{named}"


def _list(meant: dict[str, str]) -> str:
    return ", ".join(f"{name} is {split}" for name, split in meant.items())


def _common_folder(names: list[str]) -> str:
    """The single folder around all folders of classes with a `/` at the end, or nothing."""
    prefix = ""
    while True:
        rest = [name[len(prefix) :].split("/") for name in names if name != prefix]
        tops = {parts[0] for parts in rest}
        if len(tops) != 1 or min(map(len, rest)) < 3 or split_named(next(iter(tops))):
            return prefix
        prefix += f"{tops.pop()}/"

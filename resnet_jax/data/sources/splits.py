"""Splits of files, written as TFDS writes them: `train`, `train[:90%]`, `train+validation`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from resnet_jax.errors import ConfigError, nearest

T = TypeVar("T")

_MEANINGS = {
    "train": ("train", "training", "trainset", "trn"),
    "validation": ("validation", "val", "valid", "dev", "eval", "evaluation", "valset", "devset"),
    "test": ("test", "testing", "testset", "tst"),
}
_SPLITS = {word: split for split, words in _MEANINGS.items() for word in words}
_FILLERS = frozenset({"set", "data", "dataset", "split", "seg", "images", "image", "imgs", "img"})
_WORD = re.compile(r"[^\W\d_]+")

_PART = re.compile(r"\s*(\w+)\s*(?:\[\s*(-?\d+%?)?\s*:\s*(-?\d+%?)?\s*\])?\s*")


class MissingSplitError(ConfigError):
    """A dataset has no split of this name."""


def split_named(name: str) -> str | None:
    """Tells which split a name means: `Train`, `training_set`, `seg_test`, `valid`, `val2017`.

    Args:
        name: Of a folder, of a table or in a column of one, in any case.

    Returns:
        `train`, `validation` or `test`; None for any other name.
    """
    words = [word for word in _WORD.findall(name.lower()) if word not in _FILLERS]
    return _SPLITS.get(words[0]) if len(words) == 1 else None


def is_filler(name: str) -> bool:
    """Whether a folder's name says only that there are images in it, such as `images`."""
    return all(word in _FILLERS for word in _WORD.findall(name.lower()))


def name_splits(names: Iterable[str], *, origin: str) -> dict[str, str]:
    """Maps the names of folders or tables to the splits that they mean.

    Args:
        names: Those that mean none keep their own.
        origin: Where they lie, for messages.

    Raises:
        ConfigError: Two of them mean the same split.
    """
    meant: dict[str, str] = {}
    for name in names:
        split = split_named(name) or name
        if split in meant.values():
            other = next(known for known, value in meant.items() if value == split)
            raise ConfigError(
                f"{origin}: both {other!r} and {name!r} mean the split {split}; rename or remove "
                "one of them"
            )
        meant[name] = split
    return meant


def select_split(
    examples: Mapping[str, Sequence[T]], split: str, *, origin: str, seed: int | None = None
) -> list[T]:
    """Selects the examples of a split.

    Args:
        examples: The examples of each split that there is.
        split: A split in TFDS syntax; percentages are rounded to the nearest example.
        origin: Where the examples come from, for messages.
        seed: Shuffles a split before a part of it is cut, so that the part is a random sample of
            a split that is stored class by class; None for splits in random order.

    Returns:
        The examples, parts in the order in which they are written.

    Raises:
        ConfigError: The syntax is wrong or there is no such split.
    """
    selected: list[T] = []
    for part in split.split("+"):
        match = _PART.fullmatch(part)
        if match is None:
            raise ConfigError(
                f"split {split!r} cannot be read; write it as train, train[:90%] or "
                "train+validation"
            )
        name, first, last = match.groups()
        name = name if name in examples else split_named(name) or name
        if name not in examples:
            known = ", ".join(examples)
            hint = nearest(name, examples)
            if not hint and name == "validation" and "train" in examples:
                hint = (
                    " Set data.train_split=train[:90%] and data.validation_split=train[90%:], or "
                    "data.validation_split=None."
                )
            raise MissingSplitError(
                f"split {split!r}: {origin} has no split {name!r}.{hint} It has {known}; name one, "
                "or a part such as train[90%:]"
            )
        rows = examples[name]
        if seed is not None and (first or last):
            rows = [rows[at] for at in np.random.default_rng(seed).permutation(len(rows))]
        selected.extend(rows[_bound(first, len(rows), 0) : _bound(last, len(rows), len(rows))])
    return selected


def _bound(text: str | None, length: int, default: int) -> int:
    if text is None:
        return default
    value = round(int(text[:-1]) / 100 * length) if text.endswith("%") else int(text)
    return max(value + length, 0) if text.startswith("-") else min(value, length)

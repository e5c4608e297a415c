"""Splits of files, written as TFDS writes them: `train`, `train[:90%]`, `train+validation`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from resnet_jax.errors import ConfigError, nearest

T = TypeVar("T")

_PART = re.compile(r"\s*(\w+)\s*(?:\[\s*(-?\d+%?)?\s*:\s*(-?\d+%?)?\s*\])?\s*")


def select_split(examples: Mapping[str, Sequence[T]], split: str, *, origin: str) -> list[T]:
    """Selects the examples of a split.

    Args:
        examples: The examples of each split that there is.
        split: A split in TFDS syntax; percentages are rounded to the nearest example.
        origin: Where the examples come from, for messages.

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
        if name not in examples:
            known = ", ".join(examples)
            hint = nearest(name, examples)
            if not hint and name == "validation" and "train" in examples:
                hint = (
                    " Set data.train_split=train[:90%] and data.validation_split=train[90%:], or "
                    "data.validation_split=None."
                )
            raise ConfigError(
                f"split {split!r}: {origin} has no split {name!r}.{hint} It has {known}; name one, "
                "or a part such as train[90%:]"
            )
        rows = examples[name]
        selected.extend(rows[_bound(first, len(rows), 0) : _bound(last, len(rows), len(rows))])
    return selected


def _bound(text: str | None, length: int, default: int) -> int:
    if text is None:
        return default
    value = round(int(text[:-1]) / 100 * length) if text.endswith("%") else int(text)
    return max(value + length, 0) if text.startswith("-") else min(value, length)

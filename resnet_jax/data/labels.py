"""Matches the classes of a dataset with those of a network, by name."""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError, nearest

_SHOWN = 5


def match_labels(
    labels: Sequence[str], outputs: Sequence[str], *, dataset: str, network: str
) -> NDArray[np.int32]:
    """Finds the output of a network for each class of a dataset, by name.

    The dataset may lack some of the network's classes and have them in another order. Case, spaces,
    `_` and `-` are ignored where that leaves all names different.

    Args:
        labels: The names of the dataset's classes.
        outputs: The names of the network's outputs.
        dataset: The dataset, for messages.
        network: The network, for messages.

    Returns:
        The output of each label, int32 [labels].

    Raises:
        ConfigError: The network does not know a class; the message names it.
    """
    exact = {name: index for index, name in enumerate(outputs)}
    if all(name in exact for name in labels):
        return np.array([exact[name] for name in labels], np.int32)
    loose = _by_spelling(outputs)
    if len(_by_spelling(labels)) == len(labels) and len(loose) == len(outputs):
        found = [loose.get(_spelling(name)) for name in labels]
        if None not in found:
            return np.array(found, np.int32)
    odd = [name for name in labels if _spelling(name) not in loose] or list(labels)
    raise ConfigError(
        f"{network} has no class {quote(odd)} of {dataset}.{nearest(odd[0], outputs)} "
        f"Its classes: {quote(outputs)}"
    )


def name_differences(old: Sequence[str], new: Sequence[str]) -> str | None:
    """Says in words how the classes of a dataset changed; None if they did not."""
    if list(old) == list(new):
        return None
    gone = [name for name in old if name not in set(new)]
    added = [name for name in new if name not in set(old)]
    if not gone and not added:
        return f"the classes are in another order: {quote(new)}, not {quote(old)}"
    words = [f"no longer has {quote(gone)}"] if gone else []
    words += [f"has {quote(added)} as new"] if added else []
    return f"the dataset {' and '.join(words)}"


def alike_notes(names: Sequence[str]) -> tuple[str, ...]:
    """Names classes that may be meant to be one; for the user.

    Args:
        names: Of all classes.
    """
    groups = collections.defaultdict(list)
    for name in names:
        groups[_spelling(name)].append(repr(name))
    alike = [" and ".join(group) for group in groups.values() if len(group) > 1]
    if not alike:
        return ()
    more = ", ..." if len(alike) > _SHOWN else ""
    return (
        f"classes that differ only in case, spaces, _ or -: {', '.join(alike[:_SHOWN])}{more}; "
        "give them one name if they are one class",
    )


def quote(names: Sequence[str]) -> str:
    """Quotes the first few names."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _by_spelling(names: Sequence[str]) -> dict[str, int]:
    """Maps the spelling of each name to its place; a spelling that two names share is left out."""
    times = collections.Counter(map(_spelling, names))
    return {
        _spelling(name): index for index, name in enumerate(names) if times[_spelling(name)] == 1
    }


def _spelling(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)  # file systems differ in how they write accents
    return re.sub(r"[\s_-]+", " ", composed.casefold()).strip()

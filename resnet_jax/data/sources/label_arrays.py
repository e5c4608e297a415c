"""The labels of many examples in one array, of one class each or of several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.record import Label

Labels = NDArray[Any]
"""The class of each example, int32 [examples]; or which it has, bool [examples, classes]."""


def stack_labels(labels: Iterable[Label], classes: int) -> Labels:
    """Puts the labels of examples into one array; those below 0, which are no class, are kept.

    Args:
        labels: Of each example its class or its classes.
        classes: The number of classes.
    """
    listed = list(labels)
    if not listed or isinstance(listed[0], int):
        return np.array(listed, np.int32)
    known = ([one for one in several if one >= 0] for several in listed)  # type: ignore[union-attr]
    return np.array([several_hot(several, classes) for several in known])


def several_hot(labels: Iterable[int], classes: int) -> NDArray[np.bool_]:
    """Turns the classes of an example into an array that says which it has, bool [classes]."""
    hot = np.zeros(classes, np.bool_)
    hot[list(labels)] = True
    return hot


def relabel(stored: Labels, labels: NDArray[np.int32], *, classes: int) -> Labels:
    """Replaces labels by others; what is no label becomes -1.

    Args:
        stored: The labels of examples.
        labels: The new label of each old one, [old classes].
        classes: The number of new classes.
    """
    if stored.ndim == 2:
        changed = np.zeros((len(stored), classes), np.bool_)
        changed[:, labels] = stored
        return changed
    known = (stored >= 0) & (stored < len(labels))
    return np.where(known, labels[np.where(known, stored, 0)], -1).astype(np.int32)

"""How many examples each class has, and the weights that make up for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.sources import Source
from resnet_jax.errors import ConfigError


def labels_of(source: Source) -> NDArray[np.int32]:
    """Returns the label of each example; reads all of them where they are not stored apart.

    Args:
        source: The split.

    Returns:
        [examples], -1 for an example that cannot be read.
    """
    stored = source.stored_labels()
    return np.array([_label(source, at) for at in range(len(source))]) if stored is None else stored


def _label(source: Source, index: int) -> int:
    try:
        return source.record(index).label
    except BadImageError:  # training says so
        return -1


def count_classes(labels: NDArray[np.integer], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Counts the examples of each class.

    Args:
        labels: From `labels_of`.
        class_names: The classes.
    """
    known = labels[(labels >= 0) & (labels < len(class_names))]
    return np.bincount(known, minlength=len(class_names))


def balanced_weights(counts: NDArray[np.int64], class_names: Sequence[str]) -> tuple[float, ...]:
    """Returns weights with which all classes count the same: n / (k n_c), as in scikit-learn.

    Args:
        counts: The examples n_c of each of the k classes.
        class_names: The classes.

    Raises:
        ConfigError: A class has no examples.
    """
    if not counts.all():
        raise ConfigError(
            f"loss.class_weights='balanced': the class {class_names[int(counts.argmin())]!r} has "
            "no training images; add some, or give numbers"
        )
    return tuple((counts.sum() / (len(counts) * counts)).tolist())

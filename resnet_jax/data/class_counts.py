"""How many examples each class has, and the weights that make up for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import Label
from resnet_jax.data.sources import Source
from resnet_jax.data.sources.label_arrays import Labels, stack_labels
from resnet_jax.errors import ConfigError

_logger = logging.getLogger(__name__)


def labels_of(source: Source) -> Labels:
    """Returns the labels of all examples; reads all of them where they are not stored apart.

    Args:
        source: The split.

    Returns:
        For an example that cannot be read -1, or no class.
    """
    stored = source.stored_labels()
    if stored is not None:
        return stored
    _logger.info("reading %d examples to know their labels", len(source))
    labels = (_label(source, at) for at in range(len(source)))
    return stack_labels(labels, len(source.class_names))


def _label(source: Source, index: int) -> Label:
    try:
        return source.record(index).label
    except BadImageError:  # training says so
        return () if source.is_multi_label else -1


def count_classes(labels: Labels, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Counts the examples of each class; one with several classes counts for each of them.

    Args:
        labels: From `labels_of`.
        class_names: The classes.
    """
    if labels.ndim == 2:
        return labels.sum(axis=0, dtype=np.int64)
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

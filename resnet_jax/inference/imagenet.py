"""The names of ImageNet's classes, for published weights that were trained on them."""

from __future__ import annotations

import collections
import functools

IMAGENET_CLASSES = 1000
"""Classes of the challenge of 2012, which published weights mean by ImageNet-1k."""


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """Names the classes in the order of the outputs, that of their numbers in WordNet.

    TensorFlow Datasets, which this package needs anyway, carries the names with all their synonyms.
    Here the first one stands for a class, unless another class begins with the same.

    References:
        Russakovsky et al. 2015, https://arxiv.org/abs/1409.0575.
    """
    from tensorflow_datasets.datasets.siscore.labels import IMAGENET_LABELS_LIST

    first = [synonyms.partition(",")[0] for synonyms in IMAGENET_LABELS_LIST]
    times = collections.Counter(first)
    return tuple(
        name if times[name] == 1 else synonyms
        for name, synonyms in zip(first, IMAGENET_LABELS_LIST, strict=True)
    )

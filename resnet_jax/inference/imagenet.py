"""The names and WordNet IDs of the ImageNet classes, for published weights."""

from __future__ import annotations

import collections
import functools
import pathlib

IMAGENET_CLASSES = 1000
"""The classes of the 2012 challenge, known as ImageNet-1k."""


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """Returns the class names in the order of the outputs, which is that of their WordNet IDs.

    TensorFlow Datasets, which this package needs anyway, lists the synonyms of each class. The
    first one becomes the name; if two classes share it, all synonyms do.

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


@functools.cache
def imagenet_ids() -> tuple[str, ...]:
    """Returns the WordNet ID of each output, such as `n01440764` for a tench.

    Datasets call the classes so: ImageNet's own folders, TFDS, Imagenette.
    """
    import tensorflow_datasets

    package = pathlib.Path(tensorflow_datasets.__file__).parent
    labels = package / "image_classification" / "imagenet_resized_labels.txt"
    return tuple(sorted(labels.read_text().split()))

"""The images of a study: opened once for all networks, and brought to one size."""

from __future__ import annotations

import numpy as np

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.resize import ResizeCentreCrop
from resnet_jax.data.sources import Source, load_split
from resnet_jax.data.sources.examples import InMemorySource
from resnet_jax.study.plan import Plan


def open_sources(plan: Plan) -> dict[str, Source]:
    """Opens the splits of a study, by their names in its recipe.

    Raises:
        ConfigError: The data or one of the splits does not exist.
    """
    data = plan.recipe.data
    opened = DataConfig(name=plan.data, in_memory=True)
    splits = (data.train_split, data.test_split)
    return {split: _sized(load_split(opened, split), plan.image_size) for split in splits}


def _sized(source: Source, size: int | None) -> Source:
    whole = source.in_memory()
    if size is None:
        return whole
    resize = ResizeCentreCrop(size, crop_fraction=1.0, channels=whole.channels)
    unused = np.random.default_rng(0)
    images = np.stack([resize(Record(image, 0), unused) for image in whole.images])
    return InMemorySource(images, whole.labels, whole.class_names, valid=whole.valid)

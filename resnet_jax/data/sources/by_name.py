"""Sources: the examples of one split, by the name of the set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.record import Record
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.examples import Example, InMemorySource, Source

__all__ = ["Example", "InMemorySource", "Record", "Source", "load_split", "open_split"]

IN_MEMORY_LIMIT = 2**29
"""Sets whose decoded images take no more bytes than this are decoded once and kept."""


def open_split(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    channels: int | None = None,
    bad_examples: BadExamples | None = None,
) -> Source:
    """Opens one split of a data set.

    Args:
        name: `digits`; the name of a TFDS set that was prepared as array_record, such as `cifar10`,
            `imagenet2012_subset/10pct` or `cifar10:3.0.2`; `folder:PATH` or `zip:PATH` with image
            files in `train/CLASS/` and `test/CLASS/`, or in `CLASS/`; `hf:NAME` from Hugging Face
            (the extra `hf`).
        split: A split in TFDS syntax: `train`, `train[:90%]`, `train+validation`.
        data_dir: Where prepared sets lie. None: for `digits` a folder in the user's cache, for
            other names also TFDS's own (`~/tensorflow_datasets`).
        channels: 1 or 3 converts the images; None leaves them as the set has them, files as RGB.
        bad_examples: Takes the examples that are skipped; None stops at the first.

    Returns:
        The split's examples.

    Raises:
        ConfigError: There is no such set, or no such split, or it cannot be read.
    """
    if name.startswith(("folder:", "zip:")):
        from resnet_jax.data.sources.folders import open_file_split

        return open_file_split(name, split, channels=channels, bad_examples=bad_examples)
    source: Source
    if name.startswith("hf:"):
        from resnet_jax.data.sources.hugging_face import open_hugging_face_split

        source = open_hugging_face_split(name, split, channels=channels)
        source.bad_examples = bad_examples
        return source
    from resnet_jax.data.sources.tfds_sets import open_tfds_split

    source = open_tfds_split(name, split, data_dir=data_dir, channels=channels)
    source.bad_examples = bad_examples
    return source


def load_split(config: DataConfig, split: str, *, workdir: str | Path = ".") -> Source:
    """Opens a split as a recipe asks for it; in memory where it says so or the set is small.

    Args:
        config: Names the set, says what to do about bad examples, and whether the decoded images
            are kept in memory.
        split: A split in TFDS syntax, such as `config.train_split`.
        workdir: Where `bad_examples.jsonl` is written with `config.on_error="skip"`.

    Returns:
        The split's examples; an `InMemorySource` where they are kept in memory.
    """
    bad_examples = None
    if config.on_error == "skip":
        path = Path(workdir) / "bad_examples.jsonl"
        bad_examples = BadExamples(path, limit=config.max_bad_examples)
    source = open_split(
        config.name,
        split,
        data_dir=config.data_dir,
        channels=config.channels,
        bad_examples=bad_examples,
    )
    source.max_pixels = config.max_pixels
    keep = config.in_memory
    if keep is None:
        shape = source.image_shape
        keep = shape is not None and len(source) * int(np.prod(shape)) <= IN_MEMORY_LIMIT
    return source.in_memory() if keep else source

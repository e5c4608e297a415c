"""Opens a split by the name of its dataset: looks the source up in the table and calls it."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnet_jax.data.config import DataConfig
from resnet_jax.data.labels import alike_notes
from resnet_jax.data.source_names import source_kind
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.files import FileCache
from resnet_jax.data.sources.given import choose_given_split
from resnet_jax.data.sources.tfds_sets import open_tfds_split
from resnet_jax.local_paths import local_path

IN_MEMORY_LIMIT = 2**29
"""Datasets whose decoded images take no more bytes than this are decoded once and kept."""


def open_split(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    channels: int | None = None,
    bad_examples: BadExamples | None = None,
    cache: FileCache | None = None,
) -> Source:
    """Opens one split of a dataset.

    Args:
        name: `digits`; the name of a TFDS dataset that was prepared as array_record, such as
            `cifar10`, `imagenet2012_subset/10pct` or `cifar10:3.0.2`; or a prefix of the table
            `resnet_jax.data.source_names.SOURCES` and what it takes, such as `folder:PATH`.
        split: A split in TFDS syntax: `train`, `train[:90%]`, `train+validation`.
        data_dir: Where prepared datasets lie. None: for `digits` a folder in the user's cache, for
            other names also TFDS's own (`~/tensorflow_datasets`).
        channels: 1 or 3 converts the images; None leaves them as the dataset has them, files
            as RGB.
        bad_examples: Takes the examples that are skipped; None stops at the first.
        cache: Keeps what is read from a bucket; None for the usual one.

    Returns:
        The split's examples.

    Raises:
        ConfigError: There is no such dataset, or no such split, or it cannot be read.
    """
    kind = source_kind(name)
    cache = cache or FileCache()
    source: Source
    if kind is None:
        source = open_tfds_split(name, split, data_dir=data_dir, channels=channels, cache=cache)
    else:
        opener = pkgutil.resolve_name(kind.opener)
        options = {"cache": cache} if kind.files else {}
        source = opener(name, split, channels=channels, bad_examples=bad_examples, **options)
    source.bad_examples = bad_examples
    source.notes += alike_notes(source.class_names)
    return source


def load_split(
    config: DataConfig,
    split: str,
    *,
    workdir: str | Path = ".",
    sources: Mapping[str, Source] | None = None,
) -> Source:
    """Opens a split as a recipe asks for it; in memory where it says so or the dataset is small.

    Args:
        config: Names the dataset, says what to do about bad examples, and whether the decoded
            images are kept in memory.
        split: A split in TFDS syntax, such as `config.train_split`.
        workdir: Where `bad_examples.jsonl` is written with `config.on_error="skip"`.
        sources: Splits by their names, to choose from where `config.name` is `given:NAME`.

    Returns:
        The split's examples; an `InMemorySource` where they are kept in memory.

    Raises:
        ConfigError: As for `open_split`, or `sources` lacks the split.
    """
    bad_examples = None
    if config.on_error == "skip":
        path = Path(workdir) / "bad_examples.jsonl"
        bad_examples = BadExamples(path, limit=config.max_bad_examples)
    if sources is not None:
        source = choose_given_split(sources, split, name=config.name)
        source.bad_examples = bad_examples
    else:
        source = open_split(
            config.name,
            split,
            data_dir=config.data_dir,
            channels=config.channels,
            bad_examples=bad_examples,
            cache=_file_cache(config),
        )
    source.max_pixels = config.max_pixels
    keep = config.in_memory
    if keep is None:
        shape = source.image_shape
        keep = shape is not None and len(source) * int(np.prod(shape)) <= IN_MEMORY_LIMIT
    return source.in_memory() if keep else source


def _file_cache(config: DataConfig) -> FileCache:
    folder = None if config.cache_dir is None else local_path(config.cache_dir)
    return FileCache(folder, limit=int(1e9 * config.cache_gigabytes))

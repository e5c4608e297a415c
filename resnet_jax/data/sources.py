"""Sources: random access to the labelled images of one split."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import DataConfig
from resnet_jax.data.decode import decode_image

IN_MEMORY_LIMIT = 2**29
"""Sets whose decoded images take no more bytes than this are decoded once and kept."""


class Example(TypedDict):
    """One decoded example."""

    image: NDArray[np.uint8]
    label: int


class Record(NamedTuple):
    """One example as it is stored.

    Attributes:
        image: The content of an image file, or pixels, uint8 [height, width, channels].
        label: The class, from 0.
        name: What to call the example in a message.
    """

    image: bytes | NDArray[np.uint8]
    label: int
    name: str


class Source(abc.ABC):
    """Random access to labelled images; can be pickled for worker processes.

    Attributes:
        class_names: The name of each label.
        channels: Channels of the decoded images, 1 or 3.
        image_shape: (height, width, channels) where every image has the same, else None.
    """

    class_names: tuple[str, ...]
    channels: int
    image_shape: tuple[int, int, int] | None

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def record(self, index: int) -> Record:
        """Reads the example at `index`, 0 <= index < len(self), without decoding it."""

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside of a source of {len(self)} examples")
        record = self.record(index)
        return {"image": self.pixels(record), "label": record.label}

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def pixels(self, record: Record) -> NDArray[np.uint8]:
        """Decodes a record to uint8 [height, width, channels]."""
        if isinstance(record.image, bytes):
            return decode_image(record.image, channels=self.channels)
        return record.image

    def in_memory(self) -> InMemorySource:
        """Decodes every image once.

        Returns:
            A source with the same examples in the same order.

        Raises:
            ValueError: The images differ in shape.
        """
        images: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        for index in range(len(self)):
            record = self.record(index)
            images.append(self.pixels(record))
            labels.append(record.label)
            if images[-1].shape != images[0].shape:
                raise ValueError(
                    f"{record.name} has the shape {images[-1].shape}, earlier images "
                    f"{images[0].shape}; images of different sizes cannot be kept in memory as "
                    "one array: set data.in_memory=False"
                )
        return InMemorySource(
            np.stack(images), np.asarray(labels, dtype=np.int32), self.class_names
        )


class InMemorySource(Source):
    """Decoded images of one shape.

    Args:
        images: uint8 [examples, height, width, channels].
        labels: integers [examples], from 0.
        class_names: The name of each label.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.integer], class_names: tuple[str, ...]
    ) -> None:
        if images.ndim != 4 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"images are {images.dtype} {list(images.shape)} with labels {list(labels.shape)}; "
                "give uint8 [examples, height, width, channels] and one label an example"
            )
        self.images = images
        self.labels = labels.astype(np.int32)
        self.class_names = class_names
        self.channels = images.shape[3]
        self.image_shape = (images.shape[1], images.shape[2], images.shape[3])

    def __len__(self) -> int:
        return len(self.images)

    def record(self, index: int) -> Record:
        """Gives the example at `index`; its image is pixels."""
        return Record(self.images[index], int(self.labels[index]), f"example {index}")

    def in_memory(self) -> InMemorySource:
        """Gives the source itself."""
        return self


def open_split(
    name: str, split: str, *, data_dir: str | Path | None = None, channels: int | None = None
) -> Source:
    """Opens one split of a data set.

    Args:
        name: `digits`, or the name of a TFDS set that was prepared as array_record, such as
            `cifar10`, `imagenet2012_subset/10pct` or `cifar10:3.0.2`.
        split: A split in TFDS syntax: `train`, `train[:90%]`, `train+validation`.
        data_dir: Where prepared sets lie. None: for `digits` a folder in the user's cache, for
            other names also TFDS's own (`~/tensorflow_datasets`).
        channels: 1 or 3 converts the images; None leaves them as the set has them.

    Returns:
        The split's examples.

    Raises:
        ValueError: There is no such set, or no such split, or it cannot be read.
    """
    from resnet_jax.data.tfds_sets import open_tfds_split

    return open_tfds_split(name, split, data_dir=data_dir, channels=channels)


def load_split(config: DataConfig, split: str) -> Source:
    """Opens a split as a recipe asks for it; in memory where it says so or the set is small.

    Args:
        config: Names the set and says whether its decoded images are kept in memory.
        split: A split in TFDS syntax, such as `config.train_split`.

    Returns:
        The split's examples; an `InMemorySource` where they are kept in memory.
    """
    source = open_split(config.name, split, data_dir=config.data_dir, channels=config.channels)
    keep = config.in_memory
    if keep is None:
        shape = source.image_shape
        keep = shape is not None and len(source) * int(np.prod(shape)) <= IN_MEMORY_LIMIT
    return source.in_memory() if keep else source

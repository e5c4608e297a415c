"""Random access to labelled images, as stored and decoded."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import Record, open_image
from resnet_jax.data.sources.bad_examples import REMEDY, BadExamples
from resnet_jax.data.sources.label_arrays import Labels, relabel, several_hot
from resnet_jax.errors import ConfigError


class Example(TypedDict):
    """One decoded example; its label is the class, or which classes it has, bool [classes]."""

    image: NDArray[np.uint8]
    label: int | NDArray[np.bool_]


class Source(abc.ABC):
    """Random access to labelled images; can be pickled for worker processes.

    Attributes:
        class_names: The name of each label.
        is_multi_label: Whether an image may have several classes, or none.
        channels: Channels of the decoded images, 1 or 3.
        image_shape: (height, width, channels) where every image is known to have the same.
        bad_examples: Takes the examples that are skipped; None stops at the first.
        max_pixels: Larger images cannot be used.
        notes: Lines for the user: how the data were read, and what was left out.
    """

    class_names: tuple[str, ...]
    is_multi_label: bool = False
    channels: int
    image_shape: tuple[int, int, int] | None
    bad_examples: BadExamples | None = None
    max_pixels: int = MAX_PIXELS
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def record(self, index: int) -> Record:
        """Reads the example at `index`, 0 <= index < len(self), without decoding it."""

    def expect(self, indices: Iterable[int]) -> None:
        """Begins to fetch examples that will soon be read, where that takes time."""
        del indices

    def name(self, index: int) -> str:
        """Says in messages which example is meant."""
        return f"example {index}"

    def stored_labels(self) -> Labels | None:
        """Gives the labels of all examples; None if that takes reading the images."""
        return None

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside of a source of {len(self)} examples")
        with self._naming(index):
            return self._example(index, self.decode)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def decode(self, record: Record) -> NDArray[np.uint8]:
        """Decodes the image of a record to uint8 [height, width, channels]."""
        opened = open_image(record.image, channels=self.channels, max_pixels=self.max_pixels)
        return opened.whole()

    def read(
        self, index: int, decode: Callable[[Record], NDArray[np.uint8]] | None = None
    ) -> Example | None:
        """Reads and decodes an example, or skips it where it cannot be used and may be skipped.

        Args:
            index: 0 <= index < len(self).
            decode: Turns the record into an image; None for the method `decode`.

        Returns:
            The example; None where it was skipped, and recorded in `bad_examples`.

        Raises:
            BadImageError: It cannot be used and `bad_examples` is None.
        """
        if self.bad_examples is None:
            with self._naming(index):
                return self._example(index, decode or self.decode)
        try:
            return self._example(index, decode or self.decode)
        except BadImageError as error:
            self.bad_examples.add(self.name(index), str(error))
            return None

    def in_memory(self) -> InMemorySource:
        """Decodes every image once.

        Returns:
            A source with the same examples in the same order; in the place of an example that was
            skipped stands the next one that was not, as in training, marked as not valid.

        Raises:
            ConfigError: The images differ in shape, or an example cannot be used.
        """
        self.expect(range(len(self)))
        examples = [self.read(index) for index in range(len(self))]
        valid = np.array([example is not None for example in examples], dtype=np.bool_)
        if not valid.any():
            raise ConfigError("the split has no example that can be read; fix the files")
        filled = [
            example or next(filter(None, examples[index:] + examples[:index]))
            for index, example in enumerate(examples)
        ]
        images = [example["image"] for example in filled]
        odd = next((at for at, image in enumerate(images) if image.shape != images[0].shape), None)
        if odd is not None:
            raise ConfigError(
                f"{self.name(odd)} has the shape {images[odd].shape}, {self.name(0)} "
                f"{images[0].shape}; images of different sizes cannot be kept in memory as one "
                "array: set data.in_memory=False"
            )
        labels = np.array([example["label"] for example in filled])
        kept = InMemorySource(np.stack(images), labels, self.class_names, valid=valid)
        kept.notes = self.notes
        return kept

    def relabelled(self, labels: NDArray[np.int32], class_names: tuple[str, ...]) -> Source:
        """Returns the same examples with other labels.

        Args:
            labels: The new label of each old one, [old classes].
            class_names: The name of each new label.
        """
        return RelabelledSource(self, labels, class_names)

    def _example(self, index: int, decode: Callable[[Record], NDArray[np.uint8]]) -> Example:
        record, classes = self.record(index), len(self.class_names)
        labels = record.label if isinstance(record.label, tuple) else (record.label,)
        odd = next((label for label in labels if not 0 <= label < classes), None)
        if odd is not None:
            raise BadImageError(f"the label {odd} is none of 0 to {classes - 1}")
        if isinstance(record.label, int):
            return {"image": decode(record), "label": record.label}
        return {"image": decode(record), "label": several_hot(record.label, classes)}

    @contextlib.contextmanager
    def _naming(self, index: int) -> Iterator[None]:
        try:
            yield
        except BadImageError as error:
            raise BadImageError(f"{self.name(index)}: {error}; {REMEDY}") from error


class RelabelledSource(Source):
    """The examples of another source with other labels; see `Source.relabelled`."""

    def __init__(
        self, source: Source, labels: NDArray[np.int32], class_names: tuple[str, ...]
    ) -> None:
        self._source = source
        self._labels = labels
        self.class_names = class_names
        self.is_multi_label = source.is_multi_label
        self.channels = source.channels
        self.image_shape = source.image_shape
        self.bad_examples = source.bad_examples
        self.max_pixels = source.max_pixels

    def __len__(self) -> int:
        return len(self._source)

    def expect(self, indices: Iterable[int]) -> None:
        """Begins to fetch examples as its source does."""
        self._source.expect(indices)

    def record(self, index: int) -> Record:
        """Reads the example at `index`."""
        record = self._source.record(index)
        if isinstance(record.label, tuple):
            return record._replace(label=tuple(map(self._relabel, record.label)))
        return record._replace(label=self._relabel(record.label))

    def _relabel(self, label: int) -> int:
        known = 0 <= label < len(self._labels)
        return int(self._labels[label]) if known else -1  # `_example` says that it is no class

    def name(self, index: int) -> str:
        """Names the example as its source does."""
        return self._source.name(index)

    def stored_labels(self) -> Labels | None:
        """Gives the new labels of all examples, if its source has them."""
        stored = self._source.stored_labels()
        return (
            None if stored is None else relabel(stored, self._labels, classes=len(self.class_names))
        )


class InMemorySource(Source):
    """Decoded images of one shape.

    Args:
        images: uint8 [examples, height, width, channels].
        labels: integers [examples], from 0; or bool [examples, classes], where an image may have
            several classes.
        class_names: The name of each label.
        valid: bool [examples], False for examples that were skipped and are not to be evaluated;
            None where there are none.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: Labels,
        class_names: tuple[str, ...],
        *,
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        self.is_multi_label = labels.dtype == np.bool_
        fitting = (*images.shape[:1], len(class_names)) if self.is_multi_label else images.shape[:1]
        if images.ndim != 4 or images.dtype != np.uint8 or labels.shape != fitting:
            raise ValueError(
                f"images are {images.dtype} {list(images.shape)} with labels {labels.dtype} "
                f"{list(labels.shape)}; give uint8 [examples, height, width, channels] and one "
                "label an example, or bool [examples, classes]"
            )
        self.images = images
        self.labels = labels if self.is_multi_label else labels.astype(np.int32)
        self.valid = np.ones(len(images), dtype=np.bool_) if valid is None else valid
        self.class_names = class_names
        self.channels = images.shape[3]
        self.image_shape = (images.shape[1], images.shape[2], images.shape[3])

    def __len__(self) -> int:
        return len(self.images)

    def record(self, index: int) -> Record:
        """Gives the example at `index`; its image is decoded."""
        label = self.labels[index]
        if self.is_multi_label:
            return Record(self.images[index], tuple(np.flatnonzero(label).tolist()))
        return Record(self.images[index], int(label))

    def stored_labels(self) -> Labels:
        """Gives the labels of all examples."""
        return self.labels

    def relabelled(self, labels: NDArray[np.int32], class_names: tuple[str, ...]) -> Source:
        """Returns the same images with other labels."""
        changed = relabel(self.labels, labels, classes=len(class_names))
        return InMemorySource(self.images, changed, class_names, valid=self.valid)

    def in_memory(self) -> InMemorySource:
        """Gives the source itself."""
        return self

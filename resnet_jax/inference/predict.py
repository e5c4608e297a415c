"""Classifies image files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.image_files import ImageFile, find_files, read_ahead
from resnet_jax.inference.trained import Trained
from resnet_jax.plain_json import json_text


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A class and its probability.

    Attributes:
        name: The class.
        index: Which output of the network it is, from 0.
        probability: From 0 to 1.
    """

    name: str
    index: int
    probability: float

    def plain(self) -> dict[str, str | int | float]:
        """Gives the candidate as `predict --json` and the service write it."""
        return {
            "class": self.name,
            "index": self.index,
            "probability": round(self.probability, 6),
        }


class Prediction(NamedTuple):
    """The classes that a network predicts for an image file.

    Attributes:
        path: The file.
        candidates: The most likely classes, in descending order; empty if the file failed.
        problem: Why the file cannot be used, or the empty string.
    """

    path: str
    candidates: tuple[Candidate, ...]
    problem: str = ""

    def to_json(self) -> str:
        """Writes the prediction as one line of JSON."""
        candidates = [candidate.plain() for candidate in self.candidates]
        return json_text({"file": self.path, "predictions": candidates})

    def to_text(self) -> str:
        """Writes the prediction as a table: the file, then one class per line."""
        rows = [f"  {100 * one.probability:6.2f}%  {one.name}" for one in self.candidates]
        return "\n".join([self.path, *rows])


def predict(classifier: Classifier, names: Iterable[str], *, top: int = 5) -> Iterator[Prediction]:
    """Classifies a stream of image files, one batch at a time.

    Args:
        classifier: The compiled network.
        names: Files, and folders whose images are taken in name order.
        top: The number of classes per image; all of them if the network has fewer.

    Yields:
        The prediction for each file in the order of `names`. For a file that cannot be used, it
        says why; the other files are still classified.

    Raises:
        ConfigError: `top` is not positive.
    """
    if top < 1:
        raise ConfigError(f"top={top}: give 1 or more")
    size = classifier.batch_size
    batch: list[ImageFile] = []
    shape: tuple[int, ...] | None = None
    for file in read_ahead(find_files(names), classifier.trained.inputs, ahead=2 * size):
        if file.image is not None and shape is None:
            shape = file.image.shape
        batch.append(_of_shape(file, shape))
        if len(batch) == size:
            yield from _batch_predictions(classifier, batch, top)
            batch = []
    yield from _batch_predictions(classifier, batch, top)


def _of_shape(file: ImageFile, shape: tuple[int, ...] | None) -> ImageFile:
    """Rejects an image whose size differs from the first one's, for a network without a size."""
    if file.image is None or file.image.shape == shape or shape is None:
        return file
    height, width = file.image.shape[:2]
    return ImageFile(
        file.path,
        None,
        f"it has {height} x {width} pixels and the first image {shape[0]} x {shape[1]}; "
        "--inputs.size=N resizes all of them",
    )


def _batch_predictions(
    classifier: Classifier, batch: list[ImageFile], top: int
) -> Iterator[Prediction]:
    images = [file.image for file in batch if file.image is not None]
    rows = iter(classifier(np.stack(images)) if images else ())
    for file in batch:
        if file.image is None:
            yield Prediction(file.path, (), file.problem)
        else:
            candidates = best(next(rows), classifier.trained, top)
            yield Prediction(file.path, candidates)


def best(probabilities: NDArray[np.float32], trained: Trained, top: int) -> tuple[Candidate, ...]:
    """Returns the most likely classes, in descending order.

    Args:
        probabilities: [classes].
        trained: The network.
        top: The number of classes; all of them if the network has fewer.
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        Candidate(trained.class_name(int(index)), int(index), float(probabilities[index]))
        for index in order
    )

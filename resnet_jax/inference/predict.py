"""Names what is in pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.pictures import Picture, find_files, read_ahead
from resnet_jax.inference.trained import Trained


class Candidate(NamedTuple):
    """A class and its probability.

    Attributes:
        name: The class.
        output: The number of the network's output.
        probability: From 0 to 1.
    """

    name: str
    output: int
    probability: float


class Prediction(NamedTuple):
    """What a network sees in a picture.

    Attributes:
        path: The file.
        candidates: The likeliest classes, the first of them first; none where it failed.
        problem: Why the file could not be used, or the empty string.
    """

    path: str
    candidates: tuple[Candidate, ...]
    problem: str = ""

    def to_json(self) -> str:
        """Writes the prediction as one line of JSON."""
        candidates = [
            {"class": name, "output": output, "probability": round(probability, 6)}
            for name, output, probability in self.candidates
        ]
        return json.dumps({"file": self.path, "predictions": candidates}, ensure_ascii=False)

    def to_text(self) -> str:
        """Writes the prediction as a few lines of a table: the file, then a class a line."""
        rows = [f"  {100 * probability:6.2f}%  {name}" for name, _, probability in self.candidates]
        return "\n".join([self.path, *rows])


def predict(classifier: Classifier, names: Iterable[str], *, top: int = 5) -> Iterator[Prediction]:
    """Classifies picture files, as many as there are, a batch at a time.

    Args:
        classifier: The compiled network.
        names: Files, and folders whose pictures are taken in the order of their names.
        top: Classes that are given for each picture; at most as many as there are.

    Yields:
        The prediction of each file in the order of `names`. A file that cannot be used gets one
        that says why; the others are not touched by it.

    Raises:
        ConfigError: `top` is not positive.
    """
    if top < 1:
        raise ConfigError(f"top={top}: give 1 or more")
    size = classifier.batch_size
    pictures = read_ahead(find_files(names), classifier.trained.inputs, ahead=2 * size)
    batch: list[Picture] = []
    shape: tuple[int, ...] | None = None
    for picture in pictures:
        if picture.pixels is not None and shape is None:
            shape = picture.pixels.shape
        batch.append(_of_shape(picture, shape))
        if len(batch) == size:
            yield from _batch_predictions(classifier, batch, top)
            batch = []
    yield from _batch_predictions(classifier, batch, top)


def _of_shape(picture: Picture, shape: tuple[int, ...] | None) -> Picture:
    """Refuses a picture whose size is not that of the first, for a network without a size."""
    if picture.pixels is None or picture.pixels.shape == shape or shape is None:
        return picture
    height, width = picture.pixels.shape[:2]
    return Picture(
        picture.path,
        None,
        f"it has {height} x {width} pixels and the first picture {shape[0]} x {shape[1]}; "
        "--inputs.size=N brings all to one size",
    )


def _batch_predictions(
    classifier: Classifier, batch: list[Picture], top: int
) -> Iterator[Prediction]:
    pixels = [picture.pixels for picture in batch if picture.pixels is not None]
    rows = iter(classifier(np.stack(pixels)) if pixels else ())
    for picture in batch:
        if picture.pixels is None:
            yield Prediction(picture.path, (), picture.problem)
        else:
            candidates = best(next(rows), classifier.trained, top)
            yield Prediction(picture.path, candidates)


def best(probabilities: NDArray[np.float32], trained: Trained, top: int) -> tuple[Candidate, ...]:
    """Names the likeliest classes, the first of them first.

    Args:
        probabilities: [classes].
        trained: The network.
        top: How many; at most as many as there are.
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        Candidate(trained.class_name(int(index)), int(index), float(probabilities[index]))
        for index in order
    )

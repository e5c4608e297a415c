"""The network, compiled for a few sizes of batches, and its explanations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.explain import Explainer, overlay, png
from resnet_jax.inference.trained import Trained

_STEP = 4  # from one compiled size to the next


class Engine:
    """Everything that is computed for the service; one thread at a time.

    Args:
        trained: The network. It has to have a size of pictures: another one for every request would
            be compiled anew.
        batch_size: The most pictures of a batch. Smaller batches are filled up to the next of the
            sizes 1, 4, 16, ...; each is compiled once.

    Raises:
        ConfigError: The network has no size of pictures.
    """

    def __init__(self, trained: Trained, *, batch_size: int) -> None:
        if trained.inputs.size is None:
            raise ConfigError(
                f"{trained.origin} takes pictures of any size: name one with --inputs.size=N"
            )
        self.trained = trained
        sizes = [batch_size]
        while sizes[0] > 1:
            sizes.insert(0, sizes[0] // _STEP or 1)
        # Several devices round a size up, so that two may become one.
        classifiers = [Classifier(trained, batch_size=size) for size in sizes]
        self._classifiers = {classifier.batch_size: classifier for classifier in classifiers}
        self._explainer = Explainer(trained)

    @property
    def compilations(self) -> int:
        """How many programs were compiled for batches so far."""
        return sum(classifier.compilations for classifier in self._classifiers.values())

    def warm_up(self) -> None:
        """Compiles everything, so that no request waits for it."""
        inputs = self.trained.inputs
        size = inputs.size or 1
        black = np.zeros((1, size, size, inputs.channels), np.uint8)
        for classifier in self._classifiers.values():
            classifier(black)
        self._explainer(black[0])

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gives the probabilities [pictures, classes] of uint8 pictures."""
        fitting = min(size for size in self._classifiers if size >= len(images))
        return self._classifiers[fitting](images)

    def explain(self, pixels: NDArray[np.uint8], index: int | None) -> tuple[bytes, int]:
        """Gives the Grad-CAM of one picture for a class as PNG, and the class.

        Args:
            pixels: uint8 [height, width, channels].
            index: The class; None takes the likeliest.
        """
        cam, explained, _ = self._explainer(pixels, index)
        return png(overlay(pixels, cam)), explained

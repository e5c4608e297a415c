"""The network compiled for a few batch sizes, and its explanations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.explain import Explainer, overlay, png
from resnet_jax.inference.trained import Trained

_STEP = 4  # from one compiled size to the next


class Engine:
    """Computes everything for the service; call it from one thread at a time.

    Args:
        trained: The network. Its inputs need a fixed size, since each new size would be compiled
            again.
        batch_size: The most images in a batch. Smaller batches are padded to the next of the sizes
            1, 4, 16, ...; each size is compiled once.

    Raises:
        ConfigError: The inputs of the network have no fixed size.
    """

    def __init__(self, trained: Trained, *, batch_size: int) -> None:
        if trained.inputs.size is None:
            raise ConfigError(
                f"{trained.origin} takes images of any size: choose one with --inputs.size=N"
            )
        self.trained = trained
        sizes = [batch_size]
        while sizes[0] > 1:
            sizes.insert(0, sizes[0] // _STEP or 1)
        # Several devices round sizes up, so two sizes may become one.
        classifiers = [Classifier(trained, batch_size=size) for size in sizes]
        self._classifiers = {classifier.batch_size: classifier for classifier in classifiers}
        self._explainer = Explainer(trained)

    @property
    def compilations(self) -> int:
        """The number of programs compiled for batches so far."""
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
        """Returns the probabilities [images, classes] of uint8 images."""
        fitting = min(size for size in self._classifiers if size >= len(images))
        return self._classifiers[fitting](images)

    def explain(self, pixels: NDArray[np.uint8], index: int | None) -> tuple[bytes, int]:
        """Returns the Grad-CAM of one image for a class as PNG, and the class.

        Args:
            pixels: uint8 [height, width, channels].
            index: The class; None takes the most likely.
        """
        cam, explained, _ = self._explainer(pixels, index)
        return png(overlay(pixels, cam)), explained

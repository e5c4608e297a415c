"""A trained network as one compiled function of images, on all devices of the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.inference.trained import Trained
from resnet_jax.machine.mesh import make_mesh, replicated, split_by_example

Tree = Any
Augmentation = Literal["flip"]
Logits = Callable[[Tree, jax.Array], jax.Array]
AUGMENTATIONS = ("flip",)


def logits_function(trained: Trained, *, tta: Augmentation | None = None) -> tuple[Logits, Tree]:
    """Splits a network into a pure function and its arrays.

    Args:
        trained: The network.
        tta: `flip` averages the logits of each image and its mirror image.

    Returns:
        `logits(state, images)`, which maps images [batch, height, width, channels], uint8 or float
        in 0..255, to float32 [batch, classes]; and the state.

    Raises:
        ConfigError: The augmentation is unknown.
    """
    if tta not in (None, *AUGMENTATIONS):
        raise ConfigError(f"tta={tta!r} is unknown; give {', '.join(AUGMENTATIONS)} or none")
    graph, state = nnx.split(trained.model)
    inputs = trained.inputs

    def logits(state: Tree, images: jax.Array) -> jax.Array:
        model = nnx.merge(graph, nnx.State(state))
        x = normalize(images, inputs.mean, inputs.std)
        if tta is None:
            return model(x)
        return (model(x) + model(x[:, :, ::-1])) / 2

    return logits, nnx.to_pure_dict(state)


def probabilities_of(trained: Trained, logits: jax.Array) -> jax.Array:
    """Returns the probabilities of the classes: they add up to 1, unless an image may have several.

    Args:
        trained: The network.
        logits: [batch, classes].
    """
    return jax.nn.sigmoid(logits) if trained.inputs.multi_label else jax.nn.softmax(logits)


class Compiled:
    """A pure function of a network and a batch, with the batch split over all devices.

    It is compiled at the first call and then reused, since all batches have the same shape.

    Args:
        function: `(state, batch) -> result`; the first axis of every array in `batch` is the batch.
        state: The network's arrays.
        batch_size: Rows of a batch, over all processes; rounded up to a multiple of the devices.

    Attributes:
        batch_size: Rows of a batch, a multiple of the number of devices.
        compilations: The number of shapes it has been compiled for.
    """

    def __init__(
        self, function: Callable[[Tree, dict[str, jax.Array]], Any], state: Tree, *, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: give 1 or more")
        self._mesh = make_mesh()
        self.batch_size = -(-batch_size // self._mesh.size) * self._mesh.size
        self._state = jax.device_put(state, replicated(self._mesh))
        self.compilations = 0

        def counted(state: Tree, batch: dict[str, jax.Array]) -> Any:
            self.compilations += 1  # runs only while JAX traces, once per shape
            return function(state, batch)

        self._function = jax.jit(counted, out_shardings=replicated(self._mesh))

    def __call__(self, batch: Mapping[str, Any]) -> Any:
        """Starts the computation for a batch and returns its future result, on every device."""
        sharding = split_by_example(self._mesh)
        placed = {
            name: jax.make_array_from_process_local_data(sharding, array)
            for name, array in batch.items()
        }
        return self._function(self._state, placed)


class Classifier:
    """Computes class probabilities of images.

    Args:
        trained: The network.
        batch_size: Images per step; rounded up to a multiple of the devices.
        tta: As for `logits_function`.
    """

    def __init__(
        self, trained: Trained, *, batch_size: int = 32, tta: Augmentation | None = None
    ) -> None:
        logits, state = logits_function(trained, tta=tta)

        def probabilities(state: Tree, batch: dict[str, jax.Array]) -> jax.Array:
            return probabilities_of(trained, logits(state, batch["image"]))

        self.trained = trained
        self._compiled = Compiled(probabilities, state, batch_size=batch_size)

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self._compiled.batch_size

    @property
    def compilations(self) -> int:
        """The number of image shapes it has been compiled for."""
        return self._compiled.compilations

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classifies images.

        Args:
            images: uint8 [images, height, width, channels], at most `batch_size` of them; black
                images fill the batch, so that its shape does not change.

        Returns:
            Probabilities, float32 [images, classes], of `probabilities_of`.
        """
        count = len(images)
        if not 0 < count <= self.batch_size:
            raise ConfigError(f"{count} images do not fit a batch of {self.batch_size}")
        filled = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
        filled[:count] = images
        return np.asarray(self._compiled({"image": filled}))[:count]

"""Looks inside a network while it computes: the response of every layer, and removed blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from resnet_jax.blocks import BasicBlock, PlainBlock, no_layer, shortcut_a
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.data.sources import Source
from resnet_jax.models import ResNet
from resnet_jax.study.networks import TrainedNetwork
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.state import Variables


class Reading(NamedTuple):
    """The values that a network computes for a batch.

    Attributes:
        logits: [batch, classes].
        responses: [layers] Standard deviation of each 3x3 convolution's output after its
            BatchNorm, before the non-linearity and the sum, over images, pixels and channels.
        branches: [blocks] Root mean square of the residual branch; for a plain block, of its last
            response.
        sums: [blocks] Root mean square of the sum, before the last non-linearity.
    """

    logits: jax.Array
    responses: jax.Array
    branches: jax.Array
    sums: jax.Array


@dataclasses.dataclass(frozen=True)
class Images:
    """The first images of a split.

    Attributes:
        pixels: uint8 [images, height, width, channels].
        labels: int32 [images].
        batch_size: Images computed at a time.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    batch_size: int

    @property
    def batches(self) -> list[Images]:
        """The images, `batch_size` at a time."""
        batches = []
        for start in range(0, len(self.labels), self.batch_size):
            rows = slice(start, start + self.batch_size)
            batches.append(Images(self.pixels[rows], self.labels[rows], self.batch_size))
        return batches

    def right(self, logits: NDArray[np.float32]) -> int:
        """Counts the images whose label has the highest logit."""
        return int((logits.argmax(axis=-1) == self.labels).sum())


class Reader:
    """Computes with the structure of one network, compiled once per batch size.

    Args:
        trained: The network, in evaluation mode: its structure, and how its images are normalised.

    Attributes:
        blocks: The number of blocks in the network.
    """

    def __init__(self, trained: TrainedNetwork) -> None:
        self.blocks = sum(trained.model.config.depths)
        graph, data = nnx.graphdef(trained.model), trained.config.data

        def read(variables: Variables, pixels: jax.Array, kept: jax.Array) -> Reading:
            model = nnx.merge(graph, nnx.State(variables.params), nnx.State(variables.batch_stats))
            return _read(model, normalize(pixels, data.mean, data.std), kept)

        self._read = jax.jit(read)

    def read(self, variables: Variables, pixels: NDArray[np.uint8]) -> Reading:
        """Computes a batch of images, uint8 [batch, height, width, channels]."""
        return self._read(variables, pixels, np.ones(self.blocks, np.bool_))

    def logits(
        self, variables: Variables, images: Images, *, without: int | None = None
    ) -> NDArray[np.float32]:
        """Classifies images.

        Args:
            variables: The variables of this network, or of one with the same structure.
            images: The images to classify.
            without: The number of a block to remove. The shortcut without parameters (option A)
                replaces it, in plain and in residual networks.

        Returns:
            [images, classes].
        """
        kept = np.arange(self.blocks) != without
        readings = [self._read(variables, batch.pixels, kept) for batch in images.batches]
        return np.concatenate([np.asarray(reading.logits) for reading in readings])


def _read(model: ResNet, x: jax.Array, kept: jax.Array) -> Reading:
    responses, insides = model.stem.responses(x), []
    x = model.stem.pool(model.stem.last_act(responses[-1]))
    for index, block in enumerate(block for blocks in model.stages for block in blocks):
        insides.append(_look_inside(block, x))
        x = jnp.where(kept[index], insides[-1].output, _bypass(x, insides[-1].output))
    responses += [layer for inside in insides for layer in inside[:2]]
    return Reading(
        logits=model.forward_head(x),
        responses=jnp.stack([jnp.std(response) for response in responses]),
        branches=jnp.stack([_size(inside.second) for inside in insides]),
        sums=jnp.stack([_size(inside.sum) for inside in insides]),
    )


class _Inside(NamedTuple):
    first: jax.Array
    second: jax.Array
    sum: jax.Array
    output: jax.Array


def _look_inside(block: Any, x: jax.Array) -> _Inside:
    """Computes a block in evaluation mode, step by step."""
    if not isinstance(block, BasicBlock | PlainBlock):
        raise TypeError(f"{type(block).__name__} is none of the blocks that the study opens")
    first = block.norm1(block.conv1(x))
    second = block.norm2(block.conv2(block.act(first)))
    total = second + block.shortcut(x) if isinstance(block, BasicBlock) else second
    return _Inside(first, second, total, block.act(total))


def _bypass(x: jax.Array, output: jax.Array) -> jax.Array:
    shortcut = shortcut_a(
        x.shape[-1],
        output.shape[-1],
        stride=x.shape[1] // output.shape[1],
        conv=no_layer,
        norm=no_layer,
    )
    return shortcut(x)


def _size(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


def look_at(config: TrainConfig, sources: Mapping[str, Source], limit: int) -> Images:
    """Takes the first images of the test split of a study."""
    source = sources[config.data.test_split].in_memory()
    return Images(source.images[:limit], source.labels[:limit], config.eval_batch_size)

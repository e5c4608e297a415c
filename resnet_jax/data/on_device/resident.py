"""Datasets that live on the device: many steps in one dispatch, in the order of the streamed mode.

A loop over the rows of `steps_indices` that begins with `take_batch` sees the same batches as
`train_loader` with the same seed. The loop is `make_run` in `resnet_jax/training/feeds.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from resnet_jax.data.loading.order import ClassMembers, step_indices
from resnet_jax.data.sources.examples import InMemorySource


class ResidentData(NamedTuple):
    """A whole split on the device.

    Attributes:
        image: uint8 [examples, height * width * channels]: with an axis of channels alone at the
            end, a TPU pads it to the width of its registers, in a copy at each dispatch.
        label: int32 [examples], or bool [examples, classes].
    """

    image: Array
    label: Array


def to_device(
    source: InMemorySource, sharding: jax.sharding.Sharding | None = None
) -> ResidentData:
    """Puts a split on the device.

    Args:
        source: From `Source.in_memory`.
        sharding: Where to; with several devices a replicated one. None for the default device.

    Returns:
        Its images and labels.
    """
    images = source.images.reshape(len(source.images), -1)
    return ResidentData(*jax.device_put((images, source.labels), sharding))


def steps_indices(
    num_examples: int,
    batch_size: int,
    *,
    seed: int,
    first_step: int,
    steps: int,
    repeats: int = 1,
    straddle: bool = False,
    balanced: ClassMembers | None = None,
) -> NDArray[np.int32]:
    """Gives the examples of consecutive training steps.

    Args:
        num_examples: Examples of the split.
        batch_size: Examples of a step, over all processes.
        seed: Seed of the run.
        first_step: The first of the steps.
        steps: Their number.
        repeats: How often each example stands in a batch.
        straddle: Whether the last batch of an epoch is filled from the next one.
        balanced: As for `epoch_order`.

    Returns:
        Indices into the split, shape [steps, batch_size].
    """
    rows = [
        step_indices(
            num_examples,
            batch_size,
            seed=seed,
            step=step,
            repeats=repeats,
            straddle=straddle,
            balanced=balanced,
        )
        for step in range(first_step, first_step + steps)
    ]
    return np.stack(rows).astype(np.int32)


def take_batch(data: ResidentData, indices: Array, *, shape: tuple[int, ...]) -> dict[str, Array]:
    """Gathers a batch, inside a jitted function.

    Args:
        data: From `to_device`.
        indices: One row of `steps_indices`, shape [batch].
        shape: Height, width and channels of an image.

    Returns:
        The batch that the pipeline would give: image, label and a mask that is True.
    """
    return {
        "image": data.image[indices].reshape(-1, *shape),
        "label": data.label[indices],
        "mask": jnp.ones(indices.shape, jnp.bool_),
    }

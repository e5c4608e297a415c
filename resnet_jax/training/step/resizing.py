"""Progressive resizing: training starts with small images, which grow during the run."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from resnet_jax.training.recipe.config import ResizeConfig


def size_at(config: ResizeConfig, step: int, *, total_steps: int, full: int) -> int:
    """Computes the height and width of the images of a step.

    Args:
        config: How the images grow.
        step: From 0.
        total_steps: Number of steps in the run, without extensions.
        full: Height and width of the images in the batch.

    Returns:
        `full`, or a multiple of `config.multiple` that is at most `full`.
    """
    begin, end = config.begin * total_steps, config.end * total_steps
    if step >= end:
        return full
    share = max(0.0, (step - begin) / (end - begin)) if end > begin else 0.0
    size = config.first + share * (full - config.first)
    return min(full, config.multiple * round(size / config.multiple))


@functools.partial(jax.jit, static_argnames="size")
def shrink(batch: Mapping[str, jax.Array], size: int) -> dict[str, jax.Array]:
    """Resizes the images of a batch with antialiasing.

    Args:
        batch: `image` [batch, height, width, channels] uint8, and other arrays.
        size: Height and width of the resized images.

    Returns:
        The batch with `image` [batch, size, size, channels] uint8.
    """
    image = batch["image"]
    shape = (len(image), size, size, image.shape[-1])
    resized = jax.image.resize(image.astype(jnp.float32), shape, "bilinear", antialias=True)
    return {**batch, "image": jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)}

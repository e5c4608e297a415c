"""Progressive resizing: small images first, on the accelerator."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from resnet_jax.training.config import ResizeConfig


def size_at(config: ResizeConfig, step: int, *, total_steps: int, full: int) -> int:
    """Returns the height and width of the images of a step.

    Args:
        config: The growth.
        step: From 0.
        total_steps: Length of the run.
        full: The size that the images come in.

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
    """Resizes the images of a batch, with antialiasing, to `size` x `size` pixels of uint8."""
    image = batch["image"]
    shape = (len(image), size, size, image.shape[-1])
    resized = jax.image.resize(image.astype(jnp.float32), shape, "bilinear", antialias=True)
    return {**batch, "image": jnp.clip(jnp.round(resized), 0, 255).astype(jnp.uint8)}

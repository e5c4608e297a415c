"""Average and blur pooling; `max_pool` is one of `resnet_jax.layers.ops`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages x [batch, height, width, features] over space, in float32 at least."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(jnp.float32, x.dtype))


def average_pool(
    x: jax.Array, *, stride: int, window: int = 2, count_padding: bool = False
) -> jax.Array:
    """Averages square windows; one that hangs over the far edge averages the pixels it has.

    Args:
        x: [batch, height, width, features].
        stride: Step in both directions.
        window: Height and width of the window.
        count_padding: Divide by the window's area at the edge as well, as if zeros lay beyond.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.
    """
    return nnx.avg_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding="SAME",
        count_include_pad=count_padding,
    )


def blur_pool(x: jax.Array, *, stride: int) -> jax.Array:
    """Weighs 3x3 windows by the binomial filter (1 2 1) / 4 in both directions, then strides.

    Args:
        x: [batch, height, width, features]; beyond its edges it is reflected.
        stride: Step in both directions.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.

    References:
        Zhang 2019, "Making Convolutional Networks Shift-Invariant Again",
        https://arxiv.org/abs/1904.11486.
    """
    for axis in (1, 2):
        pads = [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)]
        padded = jnp.pad(x, pads, mode="reflect")
        before, centre, after = (
            lax.slice_in_dim(padded, i, i + x.shape[axis], stride, axis) for i in range(3)
        )
        x = 0.25 * before + 0.5 * centre + 0.25 * after
    return x

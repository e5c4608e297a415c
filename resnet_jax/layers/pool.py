"""Pooling with explicit symmetric padding."""

import jax
import jax.numpy as jnp
from flax import nnx


def max_pool(x: jax.Array, *, window: int = 3, stride: int = 2) -> jax.Array:
    """Takes the maximum of square windows, padded alike on both sides.

    "SAME" would pad a strided pool more at the end than at the start; PyTorch, and the published
    weights, pad both sides by `(window - 1) // 2`.

    Args:
        x: [batch, height, width, features].
        window: height and width of the window, odd.
        stride: step in both directions.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.
    """
    padding = (window - 1) // 2
    return nnx.max_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
    )


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages x [batch, height, width, features] over space, in float32 at least."""
    return jnp.mean(x, axis=(1, 2), dtype=jnp.promote_types(jnp.float32, x.dtype))


def average_pool(x: jax.Array, *, stride: int) -> jax.Array:
    """Averages 2x2 windows; a window that hangs over the edge averages the pixels it has.

    Args:
        x: [batch, height, width, features].
        stride: step in both directions.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.
    """
    return nnx.avg_pool(
        x, window_shape=(2, 2), strides=(stride, stride), padding="SAME", count_include_pad=False
    )

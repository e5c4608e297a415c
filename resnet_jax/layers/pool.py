"""Average pooling; `max_pool` and `blur_pool` are in `resnet_jax.layers.ops`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers.dtypes import at_least_float32


def global_average_pool(x: jax.Array) -> jax.Array:
    """Averages x [batch, height, width, features] over its pixels, at least in float32."""
    return jnp.mean(x, axis=(1, 2), dtype=at_least_float32(x.dtype))


def average_pool(
    x: jax.Array,
    *,
    stride: int,
    window: int = 2,
    count_padding: bool = False,
    partial_windows: bool = True,
) -> jax.Array:
    """Averages square windows; one that extends beyond the edge averages the pixels inside.

    Args:
        x: [batch, height, width, features].
        stride: Step in both directions.
        window: Height and width of the window.
        count_padding: Divide by the full area of the window at the edge too, as if padded by zeros.
        partial_windows: Keep the windows that extend beyond the edge, as PyTorch's `ceil_mode`
            does; otherwise the last rows and columns that fill no window are dropped.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype; without partial
        windows [batch, (height - window) // stride + 1, ...].

    Raises:
        ValueError: x is smaller than the window, and partial windows are dropped.
    """
    if not partial_windows and min(x.shape[1:3]) < window:
        raise ValueError(
            f"a map of {x.shape[1]} x {x.shape[2]} pixels is too small for an average pool of "
            f"{window} x {window}; pass larger images."
        )
    return nnx.avg_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding="SAME" if partial_windows else "VALID",
        count_include_pad=count_padding,
    )

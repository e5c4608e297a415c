"""Blur pooling, with a form for TPUs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from resnet_jax.layers.ops.forms import Bilinear
from resnet_jax.layers.ops.lowering import per_platform


def blur_pool(x: jax.Array, *, stride: int) -> jax.Array:
    """Applies the binomial filter (1 2 1) / 4 in both directions, with a stride.

    Args:
        x: [batch, height, width, features]; it is reflected at its edges.
        stride: Step in both directions.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.

    References:
        Zhang 2019, "Making Convolutional Networks Shift-Invariant Again",
        https://arxiv.org/abs/1904.11486.
    """
    weights = jnp.array([0.25, 0.5, 0.25], x.dtype)
    for axis in (1, 2):
        x = per_platform(_Filtered(axis, stride), x, weights)
    return x


@dataclasses.dataclass(frozen=True)
class _Filtered(Bilinear):
    """Filters x along an axis with three weights."""

    axis: int
    stride: int

    def default(self, x: jax.Array, weights: jax.Array) -> jax.Array:
        """Adds three views of x."""
        size = x.shape[self.axis]
        pads = [(1, 1) if axis == self.axis else (0, 0) for axis in range(x.ndim)]
        padded = jnp.pad(x, pads, mode="reflect")
        before, centre, after = (
            lax.slice_in_dim(padded, place, place + size, self.stride, self.axis)
            for place in range(3)
        )
        return weights[0] * before + weights[1] * centre + weights[2] * after

    def cpu(self, x: jax.Array, weights: jax.Array) -> jax.Array:
        """Computes it as the other platforms do."""
        return self.default(x, weights)

    def tpu(self, x: jax.Array, weights: jax.Array) -> jax.Array:
        """Multiplies by a matrix; a TPU would write each strided view, and pad each in reverse."""
        size = x.shape[self.axis]
        places = np.arange(0, size, self.stride)[:, None] + np.arange(-1, 2)
        inside = np.abs(places)  # reflected at the start, and then at the end
        inside = np.minimum(inside, 2 * (size - 1) - inside)
        # Its axes are output, input and weight.
        chosen = inside[:, None] == np.arange(size)[None, :, None]
        matrix = jnp.sum(jnp.where(chosen, weights, 0), axis=2)
        filtered = jnp.tensordot(matrix, x, axes=(1, self.axis), precision=lax.Precision.HIGHEST)
        return jnp.moveaxis(filtered, 0, self.axis)

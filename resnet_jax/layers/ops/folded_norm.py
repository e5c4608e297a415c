"""Batch normalisation of a 1x1 convolution's result, folded into the convolution in training.

A 1x1 convolution is linear, so the statistics of its result follow from those of its input: for an
input with the mean m and the covariance C, the result x w has the mean m w and the variance w' C w.
Hence the norm can be part of the kernel before the result exists, in training as in inference. The
result is neither kept nor read again: not for its statistics, not by the norm, not for the two sums
of the backward pass, whose place is taken by the gradient of the kernel, from which they follow as
well. The price is the product x' x in the forward pass, and x times a square matrix in the
backward pass, so it pays where the convolution has more features than inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.layers.dtypes import at_least_float32
from resnet_jax.layers.ops.forms import Forms
from resnet_jax.layers.ops.lowering import per_platform

_Arrays = tuple[jax.Array, jax.Array, jax.Array]
_PIXELS = (1, 2, 3)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def convolve_folded(
    x: jax.Array, kernel: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> _Arrays:
    """Convolves each group of images by a 1x1 kernel, and normalises with its mean and variance.

    There is a derivative in reverse mode only.

    Args:
        x: [groups, batch, height, width, in_features], in the dtype of the computation.
        kernel: [in_features, features]; rounded to the dtype of x, and so is what it becomes.
        scale: [features], float32 or float64.
        bias: [features], in the dtype of `scale`.
        epsilon: Added to the variance before the root.

    Returns:
        The result [groups, batch, height, width, features] in the dtype of x; mean and biased
        variance of the convolution's result, [groups, features], in the dtype of `scale`.
    """
    result, _ = _forward(x, kernel, scale, bias, epsilon)
    return result


def _forward(
    x: jax.Array, kernel: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[_Arrays, Any]:
    dtype = at_least_float32(x.dtype, scale.dtype)
    rounded = kernel.astype(x.dtype).astype(dtype)
    mean_in = jnp.mean(x.astype(dtype), _PIXELS)
    second = _over_pixels(x, x, dtype) / (x[0].size // x.shape[-1])
    covariance = second - mean_in[:, :, None] * mean_in[:, None, :]
    spread = covariance @ rounded
    mean = mean_in @ rounded
    var = jnp.maximum(jnp.sum(rounded * spread, 1), 0.0)  # rounding can make it negative
    root = lax.rsqrt(var + epsilon)
    folded = (rounded * (root * scale)[:, None, :]).astype(x.dtype)
    # Not from `mean`: so the result has no other mean than `bias`, however `folded` was rounded.
    offset = bias - (mean_in[:, None, :] @ folded.astype(dtype))[:, 0]
    y = _by_pixel(x, folded).astype(dtype) + offset[:, None, None, None, :]
    kept = (x, kernel, scale, mean_in, spread, var, root, folded)
    return (y.astype(x.dtype), mean, var), kept


def _backward(epsilon: float, kept: Any, gradients: _Arrays) -> tuple[jax.Array, ...]:
    del epsilon
    x, kernel, scale, mean_in, spread, var, root, folded = kept
    y_bar, mean_bar, var_bar = gradients
    dtype, count = mean_in.dtype, x[0].size // x.shape[-1]
    rounded = kernel.astype(x.dtype).astype(dtype)
    # Both sums over the pixels, from which everything small follows.
    total = jnp.sum(y_bar.astype(dtype), _PIXELS)
    product = _over_pixels(x, y_bar, dtype) - mean_in[:, :, None] * total[:, None, :]
    slope_bar = jnp.sum(rounded * product, 1)
    var_bar = (var_bar - 0.5 * root**3 * scale * slope_bar) * (var > 0).astype(dtype)
    kernel_bar = (root * scale)[:, None, :] * product + 2 * spread * var_bar[:, None, :]
    kernel_bar += mean_in[:, :, None] * mean_bar[:, None, :]
    # The gradient of the input through the values, through the variance and through the mean.
    square = (rounded * var_bar[:, None, :]) @ rounded.T * (2 / count)
    through_mean = (mean_bar @ rounded.T - _times_transposed(total, folded.astype(dtype))) / count
    constant = through_mean - _times_transposed(mean_in, square)
    x_bar = (
        _by_pixel(y_bar, folded.swapaxes(1, 2)).astype(dtype)
        + _by_pixel(x, square.astype(x.dtype)).astype(dtype)
        + constant[:, None, None, None, :]
    )
    return (
        x_bar.astype(x.dtype),
        jnp.sum(kernel_bar, 0).astype(kernel.dtype),
        jnp.sum(root * slope_bar, 0).astype(scale.dtype),
        jnp.sum(total, 0).astype(scale.dtype),
    )


convolve_folded.defvjp(_forward, _backward)


def _by_pixel(x: jax.Array, matrices: jax.Array) -> jax.Array:
    """Multiplies each pixel [groups, ..., inner] by its group's matrix [groups, inner, outer]."""
    return lax.dot_general(x, matrices, (((4,), (1,)), ((0,), (0,))))


def _over_pixels(x: jax.Array, y: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Sums the outer products of the pixels of two arrays, [groups, features of x, of y]."""
    return per_platform(_OverPixels(dtype), x, y)


def _times_transposed(rows: jax.Array, matrices: jax.Array) -> jax.Array:
    """Multiplies a row of each group [groups, inner] by its matrix [groups, outer, inner]."""
    return jnp.einsum("gi,goi->go", rows, matrices)


@dataclasses.dataclass(frozen=True)
class _OverPixels(Forms):
    """Products in the dtype of the arrays, whose sums are in another."""

    dtype: jnp.dtype

    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Converts before: XLA refuses some such products on CPUs when they run."""
        return self.default(x.astype(self.dtype), y.astype(self.dtype))

    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Multiplies."""
        numbers = ((_PIXELS, _PIXELS), ((0,), (0,)))
        return lax.dot_general(x, y, numbers, preferred_element_type=self.dtype)

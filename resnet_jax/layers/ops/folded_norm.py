"""Batch normalisation of a 1x1 convolution's result, folded into the convolution in training.

A 1x1 convolution is linear, so the statistics of its result follow from those of its input: for an
input with the mean m and the covariance C, the result x w has the mean m w and the variance w' C w.
Hence the norm can be part of the kernel before the result exists, in training as in inference. The
result is neither kept nor read again: not for its statistics, not by the norm, not for the two sums
of the backward pass, whose place is taken by the gradient of the kernel, from which they follow as
well. The price is the product x' x in the forward pass, and x times a square matrix in the
backward pass, so it pays where the convolution has more features than inputs.

The input is centred first, by its mean rounded to its own dtype, so that nothing large cancels
later. What the small products compute is in full precision on every platform.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.layers.dtypes import at_least_float32
from resnet_jax.layers.ops.forms import Bilinear
from resnet_jax.layers.ops.lowering import per_platform

_Arrays = tuple[jax.Array, jax.Array, jax.Array]
_PIXELS = (1, 2, 3)


def convolve_folded(
    x: jax.Array, kernel: jax.Array, *, scale: jax.Array, bias: jax.Array, epsilon: float
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
    dtype = at_least_float32(x.dtype, scale.dtype)
    # In `jax.shard_map`, parameters that all devices share.
    kernel, scale, bias = (_varying_as(x, values) for values in (kernel, scale, bias))
    rounded = kernel.astype(x.dtype).astype(dtype)
    mean_in = jnp.mean(x.astype(dtype), _PIXELS)
    shift = lax.stop_gradient(mean_in.astype(x.dtype))
    centred = x - _to_pixels(shift)
    rest = mean_in - shift.astype(dtype)
    y, mean, var = _convolve_folded(centred, rest, rounded, scale[None], bias[None], epsilon)
    return y, mean + _product(shift.astype(dtype), rounded), var


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _convolve_folded(*arguments: Any) -> _Arrays:
    return _forward(*arguments)[0]


def _forward(
    x: jax.Array,
    mean_in: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
) -> tuple[_Arrays, Any]:
    """Computes the results, and what `_backward` needs.

    `mean_in` [groups, in_features] is the mean of x, and the gradient of x is that through it as
    well. The kernel is rounded; scale and bias are [1, features].
    """
    dtype = mean_in.dtype
    second = _over_pixels(x, x, dtype) / _pixels(x)
    covariance = second - mean_in[:, :, None] * mean_in[:, None, :]
    spread = _product(covariance, kernel)
    mean = _product(mean_in, kernel)
    var = jnp.maximum(jnp.sum(kernel[None] * spread, 1), 0.0)  # rounding can make it negative
    root = lax.rsqrt(var + epsilon)
    folded = (kernel[None] * (root * scale)[:, None, :]).astype(x.dtype)
    # Not from `mean`: so the result has no other mean than `bias`, however `folded` was rounded.
    offset = bias - _row_product(mean_in, folded.astype(dtype))
    y = _by_pixel(x, folded).astype(dtype) + _to_pixels(offset)
    kept = (x, mean_in, kernel, scale, spread, var, root, folded)
    return (y.astype(x.dtype), mean, var), kept


def _backward(epsilon: float, kept: Any, gradients: _Arrays) -> tuple[jax.Array, ...]:
    del epsilon
    x, mean_in, kernel, scale, spread, var, root, folded = kept
    y_bar, mean_bar, var_bar = gradients
    dtype, count = mean_in.dtype, _pixels(x)
    # Both sums over the pixels, from which everything small follows.
    total = jnp.sum(y_bar.astype(dtype), _PIXELS)
    product = _over_pixels(x, y_bar, dtype) - mean_in[:, :, None] * total[:, None, :]
    slope_bar = jnp.sum(kernel[None] * product, 1)
    var_bar = (var_bar - 0.5 * root**3 * scale * slope_bar) * (var > 0).astype(dtype)
    kernel_bar = (root * scale)[:, None, :] * product + 2 * spread * var_bar[:, None, :]
    kernel_bar += mean_in[:, :, None] * mean_bar[:, None, :]
    # The gradient of the input through the values, through the variance and through the mean.
    square = _product(kernel[None] * var_bar[:, None, :], kernel.T) * (2 / count)
    square = square.astype(x.dtype)
    through_mean = _product(mean_bar, kernel.T) - _row_product(
        total, folded.astype(dtype).swapaxes(1, 2)
    )
    constant = through_mean / count - _row_product(mean_in, square.astype(dtype))
    x_bar = (
        _by_pixel(y_bar, folded.swapaxes(1, 2)).astype(dtype)
        + _by_pixel(x, square).astype(dtype)
        + _to_pixels(constant)
    )
    return (
        x_bar.astype(x.dtype),
        jnp.zeros_like(mean_in),
        jnp.sum(kernel_bar, 0),
        jnp.sum(root * slope_bar, 0, keepdims=True),
        jnp.sum(total, 0, keepdims=True),
    )


_convolve_folded.defvjp(_forward, _backward)


def _varying_as(x: jax.Array, values: jax.Array) -> jax.Array:
    """Gives values a copy on each device of a `jax.shard_map`; their gradient is the sum of all."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return values
    return jnp.where(jnp.isfinite(x[(0,) * x.ndim]), values, values)  # which XLA removes


def _pixels(x: jax.Array) -> int:
    """Counts the pixels of a group."""
    return math.prod(x.shape[1:4])


def _to_pixels(rows: jax.Array) -> jax.Array:
    """Reshapes a row of each group [groups, features] to `[groups, 1, 1, 1, features]`."""
    return rows[:, None, None, None, :]


def _by_pixel(x: jax.Array, matrices: jax.Array) -> jax.Array:
    """Multiplies each pixel [groups, ..., inner] by its group's matrix [groups, inner, outer]."""
    return lax.dot_general(x, matrices, (((4,), (1,)), ((0,), (0,))))


def _over_pixels(x: jax.Array, y: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Sums the outer products of the pixels of two arrays, [groups, features of x, of y]."""
    return per_platform(_OverPixels(dtype), x, y)


def _product(x: jax.Array, matrix: jax.Array) -> jax.Array:
    """Multiplies the last axis of x by a matrix [inner, outer]."""
    numbers = (((x.ndim - 1,), (0,)), ((), ()))
    return lax.dot_general(x, matrix, numbers, precision=lax.Precision.HIGHEST)


def _row_product(rows: jax.Array, matrices: jax.Array) -> jax.Array:
    """Multiplies a row of each group [groups, inner] by its matrix [groups, inner, outer]."""
    numbers = (((1,), (1,)), ((0,), (0,)))
    return lax.dot_general(rows, matrices, numbers, precision=lax.Precision.HIGHEST)


@dataclasses.dataclass(frozen=True)
class _OverPixels(Bilinear):
    """Products in the dtype of the arrays, whose sums are in another."""

    dtype: jnp.dtype

    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Converts before: XLA refuses some such products on CPUs when they run."""
        return self.default(x.astype(self.dtype), y.astype(self.dtype))

    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Multiplies."""
        numbers = ((_PIXELS, _PIXELS), ((0,), (0,)))
        return lax.dot_general(x, y, numbers, preferred_element_type=self.dtype)

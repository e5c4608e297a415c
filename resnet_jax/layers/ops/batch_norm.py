"""Batch normalisation of arrays, with a hand-written derivative."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.layers.ops.forms import Bilinear
from resnet_jax.layers.ops.lowering import compute_once, per_platform

_Arrays = tuple[jax.Array, jax.Array, jax.Array]
_MOST_ROWS = 8  # added to each other before the sum; more of them gain nothing


def normalize_batch(
    x: jax.Array, *, scale: jax.Array, bias: jax.Array, epsilon: float, two_pass: bool = False
) -> _Arrays:
    """Normalises each group of examples with its own mean and variance, then scales and shifts.

    Args:
        x: [groups, batch, ..., features], float32 or float64.
        scale: [features], cast to x's dtype.
        bias: [features], cast to x's dtype.
        epsilon: Added to the variance before the root.
        two_pass: Compute the variance from the centred values; slower, but exact if the mean is
            large compared to the deviation.

    Returns:
        The result in the shape of x, and mean and biased variance of each group,
        [groups, 1, ..., features].

    References:
        Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    return _normalize_batch(x, by_feature(scale, x), by_feature(bias, x), epsilon, two_pass)


def _usual_normalize_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, two_pass: bool
) -> _Arrays:
    mean = _average(x)
    if two_pass:
        var = _average(jnp.square(x - mean))
    else:
        # Reads the activations once instead of twice; rounding can make it slightly negative.
        var = jnp.maximum(_average(jnp.square(x)) - jnp.square(mean), 0.0)
    return _normalize(x, mean, var, scale, bias, epsilon), mean, var


_normalize_batch = jax.custom_jvp(_usual_normalize_batch, nondiff_argnums=(3, 4))


@_normalize_batch.defjvp
def _normalize_batch_jvp(
    epsilon: float, two_pass: bool, primals: _Arrays, tangents: _Arrays
) -> tuple[_Arrays, _Arrays]:
    """Computes the derivative in a form that makes the backward pass short.

    The backward pass is two sums over the pixels, of the gradient and of the gradient times
    `centred`, and then one weighted sum of the gradient, `centred` and a constant.
    """
    x, scale, _ = primals
    x_dot, scale_dot, bias_dot = tangents
    y, mean, var = _normalize_batch(*primals, epsilon, two_pass)
    root = jax.lax.rsqrt(var + epsilon)
    # y contains the same difference. On a CPU, `compute_once` makes it another operation here;
    # otherwise XLA would compute it once and keep it in memory next to x until now.
    centred = x - compute_once(mean)
    mean_dot = _average(x_dot)
    # A variance that rounding has made zero does not change with x.
    var_dot = 2 * _average(centred * x_dot) * (var > 0).astype(var.dtype)
    slope_dot = root * scale_dot - 0.5 * root**3 * scale * var_dot
    offset_dot = bias_dot - root * scale * mean_dot
    weighted = _Weighted(x.shape)
    y_dot = (
        root * scale * x_dot
        + per_platform(weighted, centred, slope_dot)
        + per_platform(weighted, jnp.ones((), x.dtype), offset_dot)
    )
    return (y, mean, var), (y_dot, mean_dot, var_dot)


def normalize_with(
    x: jax.Array,
    *,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
) -> jax.Array:
    """Normalises x with a given mean and variance, then scales and shifts it.

    Args:
        x: [batch, ..., features], float32 or float64.
        mean: [features].
        var: [features].
        scale: [features].
        bias: [features].
        epsilon: Added to the variance before the root.
    """
    mean, var, scale, bias = (by_feature(values, x) for values in (mean, var, scale, bias))
    return _normalize(x, mean, var, scale, bias, epsilon)


def by_feature(values: jax.Array, like: jax.Array) -> jax.Array:
    """Gives values [features] the dtype and the rank of an array, `[1, ..., features]`.

    JAX does the same by itself, unless `jax_numpy_rank_promotion="raise"` or the strict promotion
    of dtypes is set.
    """
    return values.astype(like.dtype).reshape((1,) * (like.ndim - values.ndim) + values.shape)


def _normalize(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
) -> jax.Array:
    return (x - mean) * (jax.lax.rsqrt(var + epsilon) * scale) + bias


def _average(x: jax.Array) -> jax.Array:
    return jnp.mean(x, _pixel_axes(x), keepdims=True)


def _pixel_axes(x: jax.Array) -> tuple[int, ...]:
    """Lists the axes of x [groups, batch, ..., features] over which statistics are computed."""
    return tuple(range(1, x.ndim - 1))


@dataclasses.dataclass(frozen=True)
class _Weighted(Bilinear):
    """Multiplies x, a value per pixel or one for all, by y [groups, 1, ..., features]."""

    shape: tuple[int, ...]  # of the pixels, [groups, batch, ..., features]

    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes it as on other platforms; only the gradient differs."""
        return self.default(x, y)

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Sums over the pixels in two steps; the first adds groups of up to eight rows.

        On a CPU, XLA sums values in memory quickly, and values that it computes on the way slowly.
        So the products are stored first. Adding rows before leaves an eighth of them to store.
        """
        if argument == 0:
            return super().cpu_gradient(argument, like, x, y)
        summed = x * y
        if summed.ndim > 3 and isinstance(rows := summed.shape[2], int):
            parts = max(count for count in range(1, _MOST_ROWS + 1) if rows % count == 0)
            first, *others = jnp.split(summed, parts, axis=2)
            summed = compute_once(sum(others, start=first))
        return jnp.sum(summed, _pixel_axes(summed), keepdims=True)

    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Multiplies."""
        return jnp.broadcast_to(x * y, self.shape)

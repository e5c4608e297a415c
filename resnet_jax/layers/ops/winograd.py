"""Convolutions with fewer multiplications: Winograd's F(2x2, 3x3).

A square of four outputs depends on sixteen inputs. After sums of inputs and of weights have been
computed, the outputs are sums of sixteen products, not thirty-six.

References:
    Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks",
    https://arxiv.org/abs/1509.09308.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.layers.ops.lowering import compute_once

_Weights = Sequence[Sequence[float]]
# The weights of four inputs and of three kernel values in each of four rows (and columns) of
# products, and the weights of the products in each of two outputs.
_OF_INPUTS: _Weights = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OF_KERNEL: _Weights = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_OF_PRODUCTS: _Weights = ((1, 1, 1, 0), (0, 1, -1, -1))


def convolve_3x3(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with stride 1 and padding 1.

    Args:
        inputs: [batch, height, width, in_features].
        kernel: [3, 3, in_features, features].

    Returns:
        [batch, height, width, features]; rounding errors are several times those of the direct sum.
    """
    batch, height, width, _ = inputs.shape
    down, across = -(-height // 2), -(-width // 2)
    rest = ((1, 1 + 2 * down - height), (1, 1 + 2 * across - width))
    padded = jnp.pad(inputs, ((0, 0), *rest, (0, 0)))

    def seen(row: int, column: int) -> jax.Array:
        """Returns the input at one of the sixteen places of each square."""
        rows = lax.slice_in_dim(padded, row, row + 2 * down - 1, 2, axis=1)
        return lax.slice_in_dim(rows, column, column + 2 * across - 1, 2, axis=2)

    products = [
        lax.dot_general(
            compute_once(_mix(seen, of_inputs)),
            _mix(lambda row, column: kernel[row, column], of_kernel),
            (((3,), (0,)), ((), ())),
        )
        for of_inputs, of_kernel in zip(_pairs(_OF_INPUTS), _pairs(_OF_KERNEL), strict=True)
    ]
    outputs = [
        _mix(lambda row, column: products[4 * row + column], weights)
        for weights in _pairs(_OF_PRODUCTS)
    ]
    rows = [jnp.stack(outputs[:2], axis=3), jnp.stack(outputs[2:], axis=3)]
    squares = jnp.stack(rows, axis=2)
    return squares.reshape(batch, 2 * down, 2 * across, -1)[:, :height, :width]


def _pairs(weights: _Weights) -> list[tuple[Sequence[float], Sequence[float]]]:
    return [(below, beside) for below in weights for beside in weights]


def _mix(
    value: Callable[[int, int], jax.Array], weights: tuple[Sequence[float], Sequence[float]]
) -> jax.Array:
    """Sums values at rows and columns, weighted by the products of both weights."""
    first, second = (list(enumerate(each)) for each in weights)
    terms = [
        below * beside * value(row, column)
        for row, below in first
        for column, beside in second
        if below * beside
    ]
    return functools.reduce(jnp.add, terms)

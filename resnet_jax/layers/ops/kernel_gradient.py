"""The gradient by a kernel on a CPU, as wide matrix products; used by `convolution.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.layers.ops.lowering import compute_once, devices


def kernel_gradient(inputs: jax.Array, gradient: jax.Array, *, size: int, stride: int) -> jax.Array:
    """Computes the gradient of a convolution by its kernel, one image at a time on each device.

    Args:
        inputs: [batch, height, width, in_features].
        gradient: The gradient of the outputs, [batch, ceil(height / stride), ceil(width / stride),
            features].
        size: Height and width of the kernel, odd; the padding is half of it on each side.
        stride: Step in both directions.

    Returns:
        [size, size, in_features, features].
    """
    of_images = functools.partial(_of_images, size=size, stride=stride)
    return _sum_over_images(of_images, inputs, gradient)


def outer_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sums x[..., i] y[..., j] over all pixels; XLA is fastest if rows are longer than columns."""
    pixels = (((0, 1, 2), (0, 1, 2)), ((), ()))
    if x.shape[3] > y.shape[3]:
        return lax.dot_general(y, x, pixels).T
    return lax.dot_general(x, y, pixels)


def _of_images(inputs: jax.Array, gradient: jax.Array, *, size: int, stride: int) -> jax.Array:
    """Multiplies the inputs, shifted for each column, by the gradient, shifted for each row.

    A pixel of the inputs is multiplied by a pixel of the gradient once for each place of the
    kernel. Shifting the inputs sideways for each column of the kernel, and the gradient vertically
    for each row, gives all places in one product. Both factors grow by the width of the kernel,
    instead of one by its square, and products of such balanced shapes are fast. With a stride, rows
    of the inputs that are a stride apart use the same rows of the kernel; each such group of rows
    has its own product.

    Returns:
        [size, size, in_features, features].
    """
    side = size // 2
    products: dict[int, jax.Array] = {}
    for first in range(stride):
        rows = [row for row in range(-side, side + 1) if row % stride == first]
        if not rows:  # the kernel is smaller than the stride
            continue
        seen = _by_columns(inputs[:, first::stride], gradient.shape, size, stride)
        moved = _by_rows(gradient, [row // stride for row in rows])
        shape = (size, inputs.shape[3], len(rows), gradient.shape[3])
        product = outer_products(seen, moved).reshape(shape)
        products |= {row: product[:, :, at] for at, row in enumerate(rows)}
    return jnp.stack([products[row] for row in sorted(products)])


def _by_columns(inputs: jax.Array, out: tuple[int, ...], size: int, stride: int) -> jax.Array:
    """Gathers the inputs of each kernel column: [batch, height, width, size * in_features]."""
    batch, height, width, _ = out
    side, (_, rows, _, features) = size // 2, inputs.shape
    padded = compute_once(jnp.pad(inputs, ((0, 0), (0, height - rows), (side, side), (0, 0))))
    last = stride * (width - 1) + 1
    columns = [
        lax.slice_in_dim(padded, first, first + last, stride, axis=2) for first in range(size)
    ]
    gathered = compute_once(jnp.stack(columns, axis=3))
    return gathered.reshape(batch, height, width, size * features)


def _by_rows(gradient: jax.Array, shifts: Sequence[int]) -> jax.Array:
    """Shifts the gradient down by numbers of rows: [batch, height, width, shifts * features]."""
    batch, height, width, features = gradient.shape
    most = max(map(abs, shifts))
    padded = compute_once(jnp.pad(gradient, ((0, 0), (most, most), (0, 0), (0, 0))))
    moved = [
        lax.slice_in_dim(padded, most - shift, most - shift + height, axis=1) for shift in shifts
    ]
    gathered = compute_once(jnp.stack(moved, axis=3))
    return gathered.reshape(batch, height, width, len(shifts) * features)


def _sum_over_images(
    function: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, y: jax.Array
) -> jax.Array:
    """Computes a function that is a sum over images, one image at a time on each device.

    The data of a large image then stays in the cache. If a batch is split over devices, each device
    keeps a partial sum, so the sums are combined only once, after the loop.
    """
    batch, parts = len(y), devices()
    if batch % parts or batch <= parts:
        return function(x, y)
    x, y = (array.reshape(parts, batch // parts, *array.shape[1:]) for array in (x, y))

    def add(number: jax.Array, sums: jax.Array) -> jax.Array:
        images = (lax.dynamic_slice_in_dim(array, number, 1, axis=1) for array in (x, y))
        return sums + jax.vmap(function)(*images)

    zeros = jnp.zeros_like(jax.eval_shape(jax.vmap(function), x[:, :1], y[:, :1]))
    return jnp.sum(lax.fori_loop(0, batch // parts, add, zeros), axis=0)

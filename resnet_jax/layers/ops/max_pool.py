"""Max pooling with equal padding on both sides, with forms for CPUs and GPUs."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from resnet_jax.layers.ops.forms import Bilinear, Forms
from resnet_jax.layers.ops.lowering import compute_once, per_platform


def max_pool(x: jax.Array, *, window: int = 3, stride: int = 2) -> jax.Array:
    """Takes the maximum of square windows, with equal padding on both sides.

    "SAME" would pad a strided pool more at the end than at the start; PyTorch, and the published
    weights, pad both sides by `(window - 1) // 2`.

    Args:
        x: [batch, height, width, features].
        window: Height and width of the window, odd.
        stride: Step in both directions.

    Returns:
        [batch, ceil(height / stride), ceil(width / stride), features], x's dtype.
    """
    return _max_pool(x, window, stride)


def _usual_max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    padding = (window - 1) // 2
    return nnx.max_pool(
        x,
        window_shape=(window, window),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _max_pool(x: jax.Array, window: int, stride: int) -> jax.Array:
    return per_platform(_Largest(window, stride), x)


@_max_pool.defjvp
def _max_pool_jvp(
    window: int, stride: int, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    (x,), (tangent,) = primals, tangents
    # The positions of the maxima are constant almost everywhere.
    chosen = per_platform(_Chosen(window, stride), lax.stop_gradient(x), tangent)
    return _max_pool(x, window, stride), chosen


@dataclasses.dataclass(frozen=True)
class _Largest(Forms):
    """Takes the maximum of each window."""

    window: int
    stride: int

    def cpu(self, x: jax.Array) -> jax.Array:
        """Compares the nine places of all windows; XLA's pooling takes one value at a time."""
        if (self.window, self.stride) != (3, 2):
            return self.default(x)
        # The derivative compares the same places. Otherwise XLA would store the views for both.
        own = compute_once(x)
        return functools.reduce(jnp.maximum, _views(own, beyond=-jnp.inf))

    def default(self, x: jax.Array) -> jax.Array:
        """Calls XLA's pooling."""
        return _usual_max_pool(x, self.window, self.stride)


@dataclasses.dataclass(frozen=True)
class _Chosen(Bilinear):
    """Selects `values` at the maximum of each window of x (the first on ties).

    It is linear in `values`, and so is its transpose.
    """

    window: int
    stride: int

    def cpu(self, x: jax.Array, values: jax.Array) -> jax.Array:
        """Compares the nine places of all windows, which makes the backward pass fast."""
        if (self.window, self.stride) != (3, 2):
            return self.default(x, values)
        views = _views(x, beyond=-jnp.inf)
        largest, place = views[0], jnp.zeros(views[0].shape, jnp.int8)
        for number, view in enumerate(views[1:], start=1):
            is_larger = view > largest
            largest = jnp.where(is_larger, view, largest)
            place = jnp.where(is_larger, jnp.int8(number), place)
        place = compute_once(place)
        views = _views(values, beyond=0)
        return sum(
            (jnp.where(place == number, view, 0) for number, view in enumerate(views)),
            start=jnp.zeros_like(views[0]),
        )

    def gpu(self, x: jax.Array, values: jax.Array) -> jax.Array:
        """Compares as a CPU does: XLA's derivative scatters by atomic additions, in any order."""
        return self.cpu(x, values)

    def default(self, x: jax.Array, values: jax.Array) -> jax.Array:
        """Calls the derivative of XLA's pooling."""
        pool = functools.partial(_usual_max_pool, window=self.window, stride=self.stride)
        return jax.jvp(pool, (x,), (values,))[1]


def _views(x: jax.Array, *, beyond: float) -> list[jax.Array]:
    """Lists the pixels at each of the nine places of all 3x3 windows with stride 2, by rows.

    Args:
        x: [batch, height, width, features].
        beyond: The value of the pixels beyond the edges.

    Returns:
        Nine arrays [batch, ceil(height / 2), ceil(width / 2), features].
    """
    return [view for row in _places(x, 1, beyond) for view in _places(row, 2, beyond)]


def _places(x: jax.Array, axis: int, beyond: float) -> list[jax.Array]:
    """Lists the values at each of the three places of all windows with stride 2 along an axis."""
    size = x.shape[axis]

    def padded(array: jax.Array, before: int, after: int) -> jax.Array:
        pads = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
        return jnp.pad(array, pads, constant_values=beyond)

    shape = (*x.shape[:axis], -(-size // 2), 2, *x.shape[axis + 1 :])
    pairs = padded(x, 0, size % 2).reshape(shape)
    centre, after = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    before = lax.slice_in_dim(padded(after, 1, 0), 0, shape[axis], axis=axis)
    return [before, centre, after]

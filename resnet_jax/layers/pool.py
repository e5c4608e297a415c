"""Pooling with explicit symmetric padding."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from resnet_jax.layers.lowering import Bilinear, TwoWays, materialize, per_platform


def max_pool(x: jax.Array, *, window: int = 3, stride: int = 2) -> jax.Array:
    """Takes the maximum of square windows, padded alike on both sides.

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
    # Where the maxima lie is constant almost everywhere.
    chosen = per_platform(_Chosen(window, stride), lax.stop_gradient(x), tangent)
    return _max_pool(x, window, stride), chosen


@dataclasses.dataclass(frozen=True)
class _Largest(TwoWays):
    """Takes the maximum of each window."""

    window: int
    stride: int

    def cpu(self, x: jax.Array) -> jax.Array:
        """Compares the nine places of all windows; XLA's pooling takes one value at a time."""
        if (self.window, self.stride) != (3, 2):
            return self.default(x)
        # The derivative compares the same places. XLA would write down what both of them look at.
        own = materialize(x)
        return functools.reduce(jnp.maximum, _views(own, beyond=-jnp.inf))

    def default(self, x: jax.Array) -> jax.Array:
        """Leaves it to XLA's pooling."""
        return _usual_max_pool(x, self.window, self.stride)


@dataclasses.dataclass(frozen=True)
class _Chosen(Bilinear):
    """Takes of `values` what lies where the maximum of each window of x lies, the first of equals.

    It is linear in `values`, and so is the gradient's way back.
    """

    window: int
    stride: int

    def cpu(self, x: jax.Array, values: jax.Array) -> jax.Array:
        """Compares the nine places of all windows, which makes for a quick way back."""
        if (self.window, self.stride) != (3, 2):
            return self.default(x, values)
        views = _views(x, beyond=-jnp.inf)
        largest, place = views[0], jnp.zeros(views[0].shape, jnp.int8)
        for number, view in enumerate(views[1:], start=1):
            is_larger = view > largest
            largest = jnp.where(is_larger, view, largest)
            place = jnp.where(is_larger, jnp.int8(number), place)
        place = materialize(place)
        views = _views(values, beyond=0)
        return sum(
            (jnp.where(place == number, view, 0) for number, view in enumerate(views)),
            start=jnp.zeros_like(views[0]),
        )

    def default(self, x: jax.Array, values: jax.Array) -> jax.Array:
        """Leaves it to the derivative of XLA's pooling."""
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
    """Lists what lies at each of the three places of all windows with stride 2 along an axis."""
    size = x.shape[axis]

    def padded(array: jax.Array, before: int, after: int) -> jax.Array:
        pads = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
        return jnp.pad(array, pads, constant_values=beyond)

    shape = (*x.shape[:axis], -(-size // 2), 2, *x.shape[axis + 1 :])
    pairs = padded(x, 0, size % 2).reshape(shape)
    centre, after = (lax.index_in_dim(pairs, i, axis + 1, keepdims=False) for i in range(2))
    before = lax.slice_in_dim(padded(after, 1, 0), 0, shape[axis], axis=axis)
    return [before, centre, after]


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

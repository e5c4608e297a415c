"""Initialisers, which can draw the random numbers of a whole network at once.

A network has about fifty kernels of about twenty shapes. XLA compiles a generator for each of them,
which takes most of the time of building a network. Inside `supplied`, the initialisers of this file
take parts of a few arrays instead, which one small program has drawn.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers.bound import Bound


class Supply:
    """Standard normal numbers, which are used in order.

    Attributes:
        sizes: How many numbers each call of `take` has taken.
    """

    def __init__(self, numbers: Sequence[jax.Array] | None = None) -> None:
        """Takes a flat array for each call of `take`; None returns zeros, and only counts them."""
        self._numbers = numbers
        self.sizes: list[int] = []

    def take(self, shape: tuple[int, ...]) -> jax.Array:
        """Returns the next numbers in this shape."""
        self.sizes.append(math.prod(shape))
        if self._numbers is None:
            return jnp.zeros(shape)
        return self._numbers[len(self.sizes) - 1].reshape(shape)


_supply: contextvars.ContextVar[Supply | None] = contextvars.ContextVar("supply", default=None)


@contextlib.contextmanager
def supplied(supply: Supply) -> Iterator[None]:
    """Makes the initialisers of this file take their numbers from `supply`, not from their keys."""
    token = _supply.set(supply)
    try:
        yield
    finally:
        _supply.reset(token)


def _standard_normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike) -> jax.Array:
    supply = _supply.get()
    if supply is not None:
        return supply.take(shape).astype(dtype)
    return jax.random.normal(key, shape, dtype)


def variance_scaling(scale: float, mode: str, distribution: str) -> nnx.Initializer:
    """Returns an initialiser with variance `scale / fan`.

    Unlike `nnx.initializers.variance_scaling`, it works with `supplied`.

    Args:
        scale: Variance times fan.
        mode: `fan_in`, the area of the kernel times its input channels, or `fan_out`, the area
            times its output channels.
        distribution: `normal`, or `uniform` around zero.

    Returns:
        `(key, shape, dtype) -> array`, for shapes [..., in_features, features].
    """
    return Bound(_scaled, scale=scale, mode=mode, distribution=distribution)


def _scaled(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: DTypeLike = jnp.float32,
    *,
    scale: float,
    mode: str,
    distribution: str,
) -> jax.Array:
    area = math.prod(shape[:-2])
    deviation = math.sqrt(scale / (area * shape[-2 if mode == "fan_in" else -1]))
    values = _standard_normal(key, shape, dtype)
    if distribution == "uniform":
        # The error function maps normal numbers to uniform ones in [-1, 1].
        values = math.sqrt(3) * jax.lax.erf(values / math.sqrt(2))
    return jnp.asarray(deviation * values, dtype)


# Normal with variance 2 / (kernel area * features): He et al. 2015, "Delving Deep into
# Rectifiers", equation 14, the backward form, which torchvision and timm use for ResNets.
kaiming_normal = variance_scaling(2.0, "fan_out", "normal")

# Uniform in +-1/sqrt(features), as PyTorch initialises the classifiers of the published networks.
classifier_uniform = variance_scaling(1 / 3, "fan_in", "uniform")

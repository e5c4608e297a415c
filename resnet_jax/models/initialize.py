"""Modules with random parameters, in two compiled programs."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers import Supply, supplied
from resnet_jax.layers.ops import compute_once

M = TypeVar("M", bound=nnx.Module)


def initialize(build: Callable[..., M], key: jax.Array) -> M:
    """Builds a module in two compiled programs, instead of operation by operation.

    The first draws all the normal numbers that the initialisers of `resnet_jax.layers` ask for,
    and the second cuts them up: compiling a generator for each shape of kernel would take several
    times as long as everything else. Inside of `jax.jit` both are parts of that program. The
    parameters of one key differ from those of `build(rngs=nnx.Rngs(key))`; their distributions are
    the same. They depend on the key and the module alone, up to rounding: neither on the platform
    nor on the number of devices.

    Args:
        build: `build(rngs=nnx.Rngs(...))` returns the module. Other initialisers than those of
            `resnet_jax.layers` draw from the key as usual.
        key: The key of the parameters.
    """
    wanted = Supply()
    with supplied(wanted):
        abstract = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    own_key, others_key = jax.random.split(key)

    @jax.jit
    def cut(numbers: jax.Array, key: jax.Array) -> nnx.State[Any, Any]:
        with supplied(Supply(numbers)):
            return nnx.state(build(rngs=nnx.Rngs(key)))

    return nnx.merge(nnx.graphdef(abstract), cut(_draw(own_key, wanted.used), others_key))


@functools.partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, count: int) -> jax.Array:
    numbers = jax.random.normal(key, (count,), jnp.float32)
    # Inside of `jax.jit` XLA would give each kernel a generator of its own again, but for these:
    # the first is what a CPU heeds, the second what the others do.
    return compute_once(jax.lax.optimization_barrier(numbers))


class ParameterKeys:
    """Keys for parameters, counted outside of JAX; stands in for `nnx.Rngs` while a network builds.

    `nnx.Rngs` keeps its count in a variable. Inside a trace each count takes time in proportion to
    what was traced before: minutes for a thousand layers.
    """

    def __init__(self, key: jax.Array) -> None:
        """Derives all keys from one."""
        self._key = key
        self._count = 0

    def params(self) -> jax.Array:
        """Returns the next key."""
        self._count += 1
        return jax.random.fold_in(self._key, self._count)

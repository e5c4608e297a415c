"""From NNX modules to pure functions of plain arrays."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers import Supply, supplied
from resnet_jax.layers.lowering import materialize

Tree = dict[str, Any]
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
    return materialize(jax.lax.optimization_barrier(numbers))


def functional(
    module: Callable[..., nnx.Module], *args: Any, **kwargs: Any
) -> tuple[Callable[..., tuple[Tree, Tree]], Callable[..., tuple[jax.Array, Tree]]]:
    """Turns a block or a network into two pure functions, for code that uses no Flax.

    Both can be transformed by `jax.jit`, `jax.grad`, `jax.vmap`; the trees hold arrays only.

    Args:
        module: The class, such as `ResidualBlock`, or another callable that builds the module.
        *args: Its arguments.
        **kwargs: Its keyword arguments, without `rngs`.

    Returns:
        `init(key) -> (params, batch_stats)`, nested dicts of arrays, and
        `apply(params, batch_stats, x, train, rngs=None) -> (y, batch_stats)`, where `train` is a
        Python bool and `rngs=nnx.Rngs(dropout=key)` feeds dropout and stochastic depth.

    Example:
        >>> init, apply = functional(ResidualBlock, 64, 128, stride=2)
        >>> params, batch_stats = init(jax.random.key(0))
        >>> y, batch_stats = apply(params, batch_stats, x, train=True)
    """

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return module(*args, rngs=rngs, **kwargs)

    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    abstract.train()
    training = nnx.graphdef(abstract)
    abstract.eval()
    evaluation = nnx.graphdef(abstract)

    def init(key: jax.Array) -> tuple[Tree, Tree]:
        built = initialize(build, key)
        params, batch_stats = nnx.state(built, nnx.Param), nnx.state(built, nnx.BatchStat)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)

    def apply(
        params: Tree,
        batch_stats: Tree,
        x: jax.Array,
        train: bool,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[jax.Array, Tree]:
        network = nnx.merge(
            training if train else evaluation, nnx.State(params), nnx.State(batch_stats)
        )
        y = network(x) if rngs is None else network(x, rngs=rngs)
        return y, nnx.to_pure_dict(nnx.state(network, nnx.BatchStat))

    return init, apply

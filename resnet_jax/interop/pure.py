"""From NNX modules to pure functions of plain arrays."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from resnet_jax.models.initialize import initialize

Tree = dict[str, Any]


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

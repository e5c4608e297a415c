"""From NNX modules to pure functions of plain arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from resnet_jax.errors import shown
from resnet_jax.interop.trees import Tree, TreeLayout
from resnet_jax.models.initialize import initialize


def functional(
    module: Callable[..., nnx.Module], *args: Any, **kwargs: Any
) -> tuple[Callable[..., tuple[Tree, Tree]], Callable[..., tuple[Any, Tree]]]:
    """Turns a block or a network into two pure functions, for code that uses no Flax.

    Both can be transformed by `jax.jit`, `jax.grad`, `jax.vmap`. The trees hold arrays only, and
    all their keys are strings; `apply` matches them by name. Trees with numbers for the elements of
    lists, as `flax.nnx.to_pure_dict` gives them, are taken as well.

    Args:
        module: The class, such as `ResidualBlock`, or another callable that builds the module.
        *args: Its arguments.
        **kwargs: Its keyword arguments, without `rngs`.

    Returns:
        `init(key) -> (params, batch_stats)`, nested dicts of arrays, and
        `apply(params, batch_stats, x, train, rngs=None, method="__call__") -> (y, batch_stats)`,
        where `train` is a Python bool, `rngs=nnx.Rngs(dropout=key)` feeds dropout and stochastic
        depth, and `method` names another method, such as `features`. `apply` raises ValueError
        where the names or shapes of a tree are not those of the module.

    Raises:
        TypeError: `module` is a module that is built already, or builds nothing.

    Example:
        >>> init, apply = functional(ResidualBlock, 64, 128, stride=2)
        >>> params, batch_stats = init(jax.random.key(0))
        >>> y, batch_stats = apply(params, batch_stats, x, train=True)
    """
    pure = PureModule(module, *args, **kwargs)
    return pure.init, pure.apply


class PureModule:
    """The two functions of `functional`, and what they have in common.

    Args:
        module: As for `functional`.
        *args: As for `functional`.
        **kwargs: As for `functional`.
    """

    def __init__(self, module: Callable[..., nnx.Module], *args: Any, **kwargs: Any) -> None:
        if isinstance(module, nnx.Module):
            kind = type(module).__name__
            raise TypeError(
                f"got a built {kind} instead of something that builds one: give the class and its "
                f"arguments, or for this {kind} and its weights, nnx.split(module)"
            )
        if not callable(module):
            raise TypeError(
                f"got {shown(repr(module))} instead of something that builds a module, such as a "
                f"class; for a network by name, give create_model and the name"
            )
        self._build = lambda rngs: module(*args, rngs=rngs, **kwargs)
        abstract = nnx.eval_shape(lambda: self._build(nnx.Rngs(0)))
        self._graphs = {}
        for train in (True, False):
            abstract.train() if train else abstract.eval()
            self._graphs[train] = nnx.graphdef(abstract)
        self._params = TreeLayout.of("params", nnx.state(abstract, nnx.Param))
        self._batch_stats = TreeLayout.of("batch_stats", nnx.state(abstract, nnx.BatchStat))

    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """Returns the parameters and statistics of a key."""
        built = initialize(self._build, key)
        params, batch_stats = nnx.state(built, nnx.Param), nnx.state(built, nnx.BatchStat)
        return self._params.to_names(params), self._batch_stats.to_names(batch_stats)

    def apply(
        self,
        params: Mapping[Any, Any],
        batch_stats: Mapping[Any, Any],
        x: Any,
        train: bool,
        rngs: nnx.Rngs | None = None,
        method: str = "__call__",
        **kwargs: Any,
    ) -> tuple[Any, Tree]:
        """Applies the module; see `functional`."""
        network = nnx.merge(
            self._graphs[bool(train)],
            nnx.State(self._params.from_names(params)),
            nnx.State(self._batch_stats.from_names(batch_stats)),
        )
        call = getattr(network, method)
        # A block without dropout and stochastic depth takes no randomness.
        if rngs is not None and "rngs" in inspect.signature(call).parameters:
            kwargs["rngs"] = rngs
        y = call(x, **kwargs)
        return y, self._batch_stats.to_names(nnx.state(network, nnx.BatchStat))

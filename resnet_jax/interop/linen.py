"""Blocks and networks inside Linen models."""

from collections.abc import Callable, Mapping
from typing import Any

from flax import linen, nnx
from flax.core import FrozenDict

from resnet_jax.interop.pure import PureModule
from resnet_jax.interop.trees import with_keys_of


def to_linen(
    module: Callable[..., nnx.Module],
    *args: Any,
    name: str | None = None,
    method: str = "__call__",
    **kwargs: Any,
) -> "LinenModule":
    """Wraps a block or a network of this library as a Linen module.

    Its variables are plain arrays in the collections `params` and `batch_stats`, and all their keys
    are strings. Trees with numbers for the elements of lists, as `flax.nnx.to_pure_dict` gives
    them, are taken as well. Leaves are matched by name.

    Args:
        module: The class, such as `ResidualBlock`, or another callable that builds the module.
        *args: Its arguments.
        name: The Linen module's name.
        method: The method that a call of the Linen module calls, such as `features`.
        **kwargs: Its keyword arguments, without `rngs`.

    Raises:
        TypeError: `module` is a module that is built already, or builds nothing.

    Example:
        >>> class Net(linen.Module):
        ...     @linen.compact
        ...     def __call__(self, x, train: bool):
        ...         return to_linen(ResidualBlock, 3, 16)(x, train=train)
        >>> variables = Net().init(jax.random.key(0), x, train=False)
        >>> y, updates = Net().apply(variables, x, train=True, mutable=["batch_stats"])
    """
    if isinstance(module, nnx.Module) or not callable(module):
        PureModule(module)  # raises the error that says what to give instead
    return LinenModule(module, args=args, kwargs=FrozenDict(kwargs), method=method, name=name)


class LinenModule(linen.Module):
    """A wrapped module that takes its mode as an argument of the call. See `to_linen`.

    Attributes:
        build: Builds the module.
        args: Its arguments.
        kwargs: Its keyword arguments.
        method: The method that is called.
    """

    build: Callable[..., nnx.Module]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = FrozenDict()
    method: str = "__call__"

    @linen.compact
    def __call__(self, x: Any, *, train: bool, **kwargs: Any) -> Any:
        """Applies the module.

        Args:
            x: [batch, height, width, channels].
            train: Normalise with the batch's statistics and update the running ones; draw dropout
                and stochastic depth from the stream `dropout`, where the caller gives one.
            **kwargs: Further arguments of the method.

        Raises:
            ValueError: Training would lose the new statistics, because `mutable` leaves out
                `batch_stats`; or the names or shapes of the variables are not the module's.
        """
        pure = PureModule(self.build, *self.args, **self.kwargs)
        if self.is_initializing():
            params, batch_stats = pure.init(self.make_rng("params"))
            self._put("params", params)
            self._put("batch_stats", batch_stats)
        else:
            variables = linen.meta.unbox(self.variables)
            params, batch_stats = (variables.get(name, {}) for name in ("params", "batch_stats"))
        keeps_statistics = self.is_initializing() or self.is_mutable_collection("batch_stats")
        if train and batch_stats and not keeps_statistics:
            raise ValueError(
                "train=True updates the running statistics, and this call would drop them: pass "
                "mutable=['batch_stats'] to apply, or train=False."
            )
        draws = train and self.has_rng("dropout")
        rngs = nnx.Rngs(dropout=self.make_rng("dropout")) if draws else None
        y, updated = pure.apply(
            params, batch_stats, x, train, rngs=rngs, method=self.method, **kwargs
        )
        # Linen merges what is put with what is there, so that other keys would be further ones.
        self._put("batch_stats", with_keys_of(batch_stats, updated))
        return y

    def _put(self, collection: str, tree: Mapping[str, Any]) -> None:
        """Stores a tree where the caller lets this collection change."""
        if self.is_mutable_collection(collection):
            for name, value in tree.items():
                self.put_variable(collection, name, value)

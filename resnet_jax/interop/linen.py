"""Blocks and networks inside Linen models."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import linen, nnx


def to_linen(
    module: Callable[..., nnx.Module], *args: Any, name: str | None = None, **kwargs: Any
) -> "LinenModule":
    """Wraps a block or a network of this library as a Linen module.

    Its variables are plain arrays in the collections `params` and `batch_stats`.

    Args:
        module: The class, such as `ResidualBlock`, or another callable that builds the module.
        *args: Its arguments.
        name: The Linen module's name.
        **kwargs: Its keyword arguments, without `rngs`.

    Example:
        >>> class Net(linen.Module):
        ...     @linen.compact
        ...     def __call__(self, x, train: bool):
        ...         return to_linen(ResidualBlock, 3, 16)(x, train=train)
        >>> variables = Net().init(jax.random.key(0), x, train=False)
        >>> y, updates = Net().apply(variables, x, train=True, mutable=["batch_stats"])
    """
    return LinenModule(module, args=args, kwargs=kwargs, name=name)


class LinenModule(nnx.bridge.ToLinen):
    """A wrapped module that takes its mode as an argument of the call. See `to_linen`."""

    @linen.compact
    def __call__(  # type: ignore[override]  # the bridge passes on anything; this has a mode
        self, x: jax.Array, *, train: bool
    ) -> jax.Array:
        """Applies the module.

        Args:
            x: [batch, height, width, channels].
            train: Normalise with the batch's statistics and update the running ones; draw dropout
                and stochastic depth from the stream `dropout`, where the caller gives one.

        Raises:
            ValueError: Training would lose the new statistics, because `mutable` leaves out
                `batch_stats`.
        """
        keeps_statistics = self.is_initializing() or self.is_mutable_collection("batch_stats")
        if train and "batch_stats" in self.variables and not keeps_statistics:
            raise ValueError(
                "train=True updates the running statistics, and this call would drop them: pass "
                "mutable=['batch_stats'] to apply, or train=False."
            )
        draws = train and self.has_rng("dropout")
        rngs = nnx.Rngs(dropout=self.make_rng("dropout")) if draws else None

        def call(module: Any, x: jax.Array) -> jax.Array:
            module.train() if train else module.eval()
            # A block without dropout and stochastic depth takes no randomness.
            takes_rngs = "rngs" in inspect.signature(module.__call__).parameters
            return module(x, rngs=rngs) if takes_rngs else module(x)

        return super().__call__(x, nnx_method=call)

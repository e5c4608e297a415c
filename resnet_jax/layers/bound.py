"""Functions that a module may store: equal by value, and importable by name.

A module's structure (`nnx.graphdef`) contains the functions that it stores, and JAX compiles anew
for another structure. So a function from here equals its copies, and can be pickled, which neither
a `functools.partial` nor `nnx.relu` does.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx


@dataclasses.dataclass(frozen=True, init=False)
class Bound:
    """A function with some of its keyword arguments, like `functools.partial`.

    Two of the same function with the same arguments are equal, also after copying and pickling.

    Attributes:
        function: The function.
        keywords: The names and values of the arguments.
    """

    function: Callable[..., Any]
    keywords: tuple[tuple[str, Any], ...]

    def __init__(self, function: Callable[..., Any], **keywords: Any) -> None:
        """Binds hashable values to arguments of a function."""
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "keywords", tuple(sorted(keywords.items())))

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Calls the function; the given arguments take precedence over the bound ones."""
        return self.function(*args, **{**dict(self.keywords), **keywords})


def relu(x: jax.Array) -> jax.Array:
    """Returns max(x, 0)."""
    return nnx.relu(x)


def silu(x: jax.Array) -> jax.Array:
    """Returns x * sigmoid(x)."""
    return nnx.silu(x)


def gelu(x: jax.Array) -> jax.Array:
    """Returns the Gaussian error linear unit in its tanh approximation, as `nnx.gelu` does."""
    return nnx.gelu(x)

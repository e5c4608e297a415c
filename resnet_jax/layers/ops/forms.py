"""A function of arrays that is written in several ways, one for each platform."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax


class Forms(abc.ABC):
    """One function in a form per platform; hashable, and equal to another with the same fields.

    A subclass chooses its own arguments, which are positional arrays; the signatures here allow
    any.
    """

    @abc.abstractmethod
    def cpu(self, *arguments: Any, **_: Any) -> jax.Array:
        """Computes it on a CPU."""

    @abc.abstractmethod
    def default(self, *arguments: Any, **_: Any) -> jax.Array:
        """Computes it on every other platform."""

    def gpu(self, *arguments: Any, **_: Any) -> jax.Array:
        """Computes it on a GPU; by default as on the other platforms."""
        return self.default(*arguments)

    def tpu(self, *arguments: Any, **_: Any) -> jax.Array:
        """Computes it on a TPU; by default as on the other platforms."""
        return self.default(*arguments)

    def differentiated(self) -> Forms:
        """Returns the function to use when it is differentiated."""
        raise NotImplementedError(f"{self} has no derivative; give it one by jax.custom_jvp")


class Bilinear(Forms):
    """A bilinear function; its derivatives follow from its forms."""

    @abc.abstractmethod
    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes it on a CPU."""

    @abc.abstractmethod
    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes it on every other platform."""

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes the gradient by one argument on a CPU; by default that of `cpu`.

        Args:
            argument: 0 or 1.
            like: The shape and dtype of that argument.
            x: The first argument, or the output's gradient if `argument` is 0.
            y: The second argument, or the output's gradient if `argument` is 1.
        """
        return transpose(self.cpu, argument, like, x, y)

    def differentiated(self) -> Bilinear:
        """Returns the function to use when it is differentiated; by default itself."""
        return self


def transpose(
    function: Callable[[jax.Array, jax.Array], jax.Array],
    argument: int,
    like: Any,
    x: jax.Array,
    y: jax.Array,
) -> jax.Array:
    """Computes a gradient of a bilinear function as JAX derives it; see `Bilinear.cpu_gradient`."""
    gradient: jax.Array
    if argument == 0:
        (gradient,) = jax.linear_transpose(lambda value: function(value, y), like)(x)
    else:
        (gradient,) = jax.linear_transpose(lambda value: function(x, value), like)(y)
    return gradient

"""The gradient of a batch, computed all at once or in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

PyTree = Any
LossFunction = Callable[
    [PyTree, PyTree, jax.Array, jax.Array, jax.Array], tuple[jax.Array, tuple[jax.Array, PyTree]]
]
"""Maps (params, batch_stats, images, targets, key) to (mean loss, (logits, new batch_stats))."""


class Gradient(NamedTuple):
    """The gradient of a batch, with what was computed on the way.

    Attributes:
        loss: Mean over the examples.
        logits: [batch, classes], in the order of the batch.
        batch_stats: The statistics after the batch.
        gradient: Of the mean loss, in the structure of the parameters.
    """

    loss: jax.Array
    logits: jax.Array
    batch_stats: PyTree
    gradient: PyTree


def gradient_of(
    loss: LossFunction,
    params: PyTree,
    batch_stats: PyTree,
    images: jax.Array,
    targets: jax.Array,
    key: jax.Array,
    *,
    parts: int = 1,
) -> Gradient:
    """Differentiates the mean loss of a batch with respect to the parameters.

    With several parts, the gradient is the mean of their gradients: the same except for rounding.
    Only BatchNorm differs, because it normalises each part separately and updates its running
    statistics once per part. Random numbers differ as well.

    Args:
        loss: What to differentiate.
        params: The parameters.
        batch_stats: The statistics.
        images: [batch, ...].
        targets: [batch] or [batch, classes].
        key: For dropout and stochastic depth.
        parts: The number of parts; it divides the batch.

    Returns:
        The gradient, with the loss, the logits and the new statistics.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, (logits, stats)), gradient = differentiate(
            params, batch_stats, images, targets, key
        )
        return Gradient(value, logits, stats, gradient)

    def step(carry: tuple[PyTree, PyTree], part: Any) -> tuple[tuple[PyTree, PyTree], Any]:
        stats, total = carry
        (value, (logits, stats)), gradient = differentiate(params, stats, *part)
        return (stats, jax.tree.map(jnp.add, total, gradient)), (value, logits)

    zeros = jax.tree.map(jnp.zeros_like, params)
    pieces = (_cut(images, parts), _cut(targets, parts), jax.random.split(key, parts))
    (stats, total), (values, logits) = jax.lax.scan(step, (batch_stats, zeros), pieces)
    gradient = jax.tree.map(lambda leaf: leaf / parts, total)
    return Gradient(values.mean(), _joined(logits), stats, gradient)


def _cut(array: jax.Array, parts: int) -> jax.Array:
    """Distributes the examples in turn, so that each device keeps its own."""
    return array.reshape(-1, parts, *array.shape[1:]).swapaxes(0, 1)


def _joined(array: jax.Array) -> jax.Array:
    return array.swapaxes(0, 1).reshape(-1, *array.shape[2:])

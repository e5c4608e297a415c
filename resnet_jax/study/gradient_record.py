"""Records the gradient of every convolution, without a change to the training step."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

PyTree = Any


class GradientRecord(NamedTuple):
    """The state of the transformation.

    Attributes:
        total: [layers] The sum of each convolution's gradient norm over all steps so far, the
            convolution closest to the image first.
    """

    total: jax.Array


def record_gradients() -> optax.GradientTransformation:
    """Makes an optax transformation that only adds up the norms of the gradients.

    At the start of a chain it sees the gradients before decay and momentum.
    """

    def init(params: PyTree) -> GradientRecord:
        return GradientRecord(jnp.zeros_like(convolution_norms(params)))

    def update(
        updates: PyTree, state: GradientRecord, params: PyTree = None
    ) -> tuple[PyTree, GradientRecord]:
        del params
        return updates, GradientRecord(state.total + convolution_norms(updates))

    return optax.GradientTransformation(init, update)


def convolution_norms(tree: PyTree) -> jax.Array:
    """Computes the Euclidean norm of every convolution's kernel, or of its gradient.

    Args:
        tree: Parameters of a network, or a tree of the same structure.

    Returns:
        [layers] from the stem to the last block.
    """
    kernels = [
        (_depth(path), leaf) for path, leaf in jax.tree.leaves_with_path(tree) if leaf.ndim == 4
    ]
    kernels.sort(key=lambda item: item[0])
    return jnp.stack([jnp.linalg.norm(leaf) for _, leaf in kernels])


def _depth(path: tuple[Any, ...]) -> tuple[int, ...]:
    """Orders the places of kernels: the stem, then stages, blocks and convolutions."""
    names = [str(entry.key) for entry in path]
    if names[0] != "stages":
        return (-1,)
    return int(names[1]), int(names[2]), int(names[3].removeprefix("conv"))

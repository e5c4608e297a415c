"""Which parameter is which: masks and groups of a network's parameters by their place."""

from __future__ import annotations

from typing import Any

import jax

PyTree = Any


def decays_matrices(params: PyTree) -> PyTree:
    """Masks the parameters with more than one dimension: no norm, no bias."""
    return jax.tree.map(lambda param: param.ndim > 1, params)


def decays_not_norms(params: PyTree) -> PyTree:
    """Masks all parameters but the scales and biases of norms."""
    if not isinstance(params, dict):
        return True
    is_norm = "scale" in params
    return {
        name: False if is_norm and not isinstance(part, dict) else decays_not_norms(part)
        for name, part in params.items()
    }


def depths(params: PyTree) -> PyTree:
    """Numbers the parameters by the part of the network: 0 the stem, 1 the first stage, and so on.

    The head, and the norm before it where there is one, come last.
    """
    last = len(params["stages"]) + 1

    def depth(path: tuple[Any, ...], _: Any) -> int:
        match [entry.key for entry in path[:2]]:
            case ["stem", *_]:
                return 0
            case ["stages", stage]:
                return int(stage) + 1
        return last

    return jax.tree_util.tree_map_with_path(depth, params)


def is_hidden_matrix(params: PyTree) -> PyTree:
    """Masks the matrices and kernels before the head: what Muon orthogonalises."""
    last = len(params["stages"]) + 1
    places = depths(params)
    return jax.tree.map(lambda param, depth: param.ndim > 1 and depth < last, params, places)

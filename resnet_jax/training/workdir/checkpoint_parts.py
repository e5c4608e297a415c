"""The named parts of a checkpoint, which are its format, and a check of their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax

from resnet_jax.training.step.state import TrainState, Variables

Tree = TypeVar("Tree", TrainState, Variables)


def like(state: Tree, sharding: Any) -> Tree:
    """Describes a state without its values, on the devices that it will be restored to.

    Args:
        state: Arrays, or the result of `jax.eval_shape`, in any structure.
        sharding: The placement of the arrays: one sharding for all, or one for each, in the
            structure of the state.

    Returns:
        `jax.ShapeDtypeStruct`s in the structure of the state.
    """
    if isinstance(sharding, jax.sharding.Sharding):
        sharding = jax.tree.map(lambda _: sharding, state)
    described: Tree = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        state,
        sharding,
    )
    return described


def to_parts(state: TrainState) -> dict[str, Any]:
    """Divides a state into the named parts of a checkpoint; each can be read by itself."""
    names = ("step", "skipped", "skipped_in_row")
    counters = {name: getattr(state, name) for name in names}
    live = {"params": state.params, "batch_stats": state.batch_stats}
    parts = {"counters": counters, "live": live, "opt_state": state.opt_state}
    if state.average is not None:
        parts["average"] = state.average._asdict()
    return parts


def from_parts(parts: Mapping[str, Any]) -> TrainState:
    """Builds a state from the parts of a checkpoint."""
    average = parts.get("average")
    return TrainState(
        **parts["counters"],
        **parts["live"],
        opt_state=parts["opt_state"],
        average=None if average is None else Variables(**average),
    )


def shape_difference(like: Mapping[str, Any], saved: Mapping[str, Any]) -> str | None:
    """Compares the shapes of a checkpoint with those that the config gives.

    Args:
        like: The parts as the config gives them; their values are not read.
        saved: The parts of the checkpoint.

    Returns:
        The first difference in words, or None.
    """
    for part, wanted in like.items():
        expected, found = _shapes(wanted), _shapes(saved.get(part, {}))
        for path in sorted(expected.keys() | found.keys()):
            if expected.get(path) != found.get(path):
                return (
                    f"{part}.{path} has the shape {found.get(path)}, but the config gives it "
                    f"{expected.get(path)}"
                )
    return None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves
    }

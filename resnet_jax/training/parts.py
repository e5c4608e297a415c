"""The parts of a checkpoint: how a training state is taken apart and put together again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from resnet_jax.training.state import TrainState, Variables


class CheckpointError(ValueError):
    """A checkpoint could not be read or written; the message says which and why."""


def to_parts(state: TrainState) -> dict[str, Any]:
    """Names the parts of a checkpoint; one can be read without the others."""
    names = ("step", "skipped", "skipped_in_row")
    counters = {name: getattr(state, name) for name in names}
    live = {"params": state.params, "batch_stats": state.batch_stats}
    parts = {"counters": counters, "live": live, "opt_state": state.opt_state}
    if state.average is not None:
        parts["average"] = state.average._asdict()
    return parts


def from_parts(parts: Mapping[str, Any]) -> TrainState:
    """Puts a state together again from its parts."""
    average = parts.get("average")
    return TrainState(
        **parts["counters"],
        **parts["live"],
        opt_state=parts["opt_state"],
        average=None if average is None else Variables(**average),
    )


def check_shapes(like: Mapping[str, Any], saved: Mapping[str, Any], where: str) -> None:
    """Compares shapes before any array is read.

    Raises:
        CheckpointError: They differ; the first difference is named.
    """
    for part, wanted in like.items():
        expected, found = _shapes(wanted), _shapes(saved.get(part, {}))
        for path in sorted(expected.keys() | found.keys()):
            if expected.get(path) != found.get(path):
                raise CheckpointError(
                    f"the checkpoint in {where} does not fit the config: {part}.{path} has the "
                    f"shape {found.get(path)}, the config makes it {expected.get(path)}"
                )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves
    }

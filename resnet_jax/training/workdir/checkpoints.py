"""Checkpoints of a run: the only file that knows Orbax.

A checkpoint becomes visible when it is complete, so one that a killed process left half written is
never read. Saving runs in the background; `close` waits for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self, TypeVar

import jax
from absl import logging
from orbax.checkpoint import v1 as ocp

from resnet_jax.machine.processes import PeerError, naming_lost_peers
from resnet_jax.training.recipe.config import CheckpointConfig
from resnet_jax.training.step.state import TrainState, Variables
from resnet_jax.training.workdir.digests import Digests

BEST_BY = "validation_accuracy"

Tree = TypeVar("Tree", TrainState, Variables)

_BROKEN = "broken-"
# Bytes. Orbax lets each device that holds a copy of an array save a slice of it, down to those of
# a norm's scale: hundreds of small operations, which hold up training for longer than the writing.
# An array whose slices would be smaller is saved whole, from one device.
_LEAST_SLICE = 2**20


class CheckpointError(ValueError):
    """A checkpoint could not be read or written; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint gave back.

    Attributes:
        step: The number that it was saved under.
        state: The training state.
        notes: The plain values that were saved beside it.
        broken: Newer checkpoints that could not be read, each with the reason.
    """

    step: int
    state: TrainState
    notes: dict[str, Any]
    broken: dict[int, str]


class _Loaded(NamedTuple):
    """As `Restored`, with the parts as they were saved."""

    step: int
    parts: dict[str, Any]
    notes: dict[str, Any]
    broken: dict[int, str]


class Checkpoints:
    """The checkpoints of one run; use it in a `with` statement.

    Args:
        directory: Where they lie; created where it is missing.
        config: Which of them stay.
    """

    def __init__(self, directory: pathlib.Path, config: CheckpointConfig) -> None:
        # Orbax tells every step of its work, and the trace of every error that it raises as well.
        logging.set_verbosity(logging.FATAL)
        _forget_writes_that_outlive_their_save()
        self._directory = directory.absolute()
        self._config = config
        self._manager = self._open()
        self._digests = Digests(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # a save in flight waits for the other processes, which may be gone
        self.close()

    @property
    def directory(self) -> pathlib.Path:
        """Where the checkpoints lie."""
        return self._directory

    def steps(self) -> list[int]:
        """Lists the numbers of the complete checkpoints, in rising order."""
        return [checkpoint.step for checkpoint in self._manager.checkpoints]

    def save(
        self,
        step: int,
        state: TrainState,
        notes: Mapping[str, Any],
        *,
        validation_accuracy: float | None = None,
    ) -> None:
        """Begins to save, after waiting for the save before this one.

        The arrays are copied before this returns: the state may be donated to the next step.

        Args:
            step: The number of the checkpoint; one that exists already is left as it is.
            state: The training state.
            notes: Plain values that JSON can hold.
            validation_accuracy: What the choice of the best goes by, where it is known.

        Raises:
            CheckpointError: It cannot be written, or the one before could not be.
        """
        if step in self.steps():
            return
        metrics = None if validation_accuracy is None else {BEST_BY: validation_accuracy}
        with self._explained("save"):
            self._manager.save_checkpointables_async(
                step, to_parts(state), force=True, metrics=metrics, custom_metadata=dict(notes)
            )
        if jax.process_index() == 0:
            self._digests.expect(step)

    def restore(self, like: TrainState, *, step: int | None = None) -> Restored:
        """Reads the newest checkpoint that is whole, onto the devices that `like` names.

        Args:
            like: `jax.ShapeDtypeStruct`s with shardings, in the structure of the state.
            step: Read this one and no other.

        Returns:
            The state and what was saved beside it.

        Raises:
            CheckpointError: None could be read, or the newest belongs to another network.
        """
        loaded = self._load(to_parts(like), step)
        return Restored(loaded.step, from_parts(loaded.parts), loaded.notes, loaded.broken)

    def restore_variables(
        self, like: Variables, *, averaged: bool, step: int | None = None
    ) -> tuple[int, Variables]:
        """Reads what evaluation needs and nothing else.

        Args:
            like: `jax.ShapeDtypeStruct`s with shardings.
            averaged: Whether to read the moving averages in place of the live values.
            step: Read this checkpoint and no other.

        Returns:
            The number of the checkpoint and its variables.

        Raises:
            CheckpointError: As for `restore`.
        """
        part = "average" if averaged else "live"
        loaded = self._load({part: like._asdict()}, step)
        return loaded.step, Variables(**loaded.parts[part])

    def _load(self, like: dict[str, Any], step: int | None) -> _Loaded:
        if step not in (None, *self.steps()) or not self.steps():
            have = ", ".join(str(number) for number in self.steps()) or "none"
            wanted = "" if step is None else f" {step}"
            raise CheckpointError(
                f"no checkpoint{wanted} in {self._directory}; there is {have} so far"
            )
        candidates = [step] if step is not None else sorted(self.steps(), reverse=True)
        broken: dict[int, str] = {}
        for number in candidates:
            fault = self._digests.fault(number)
            if fault is not None:
                broken[number] = fault
                continue
            try:
                with naming_lost_peers():
                    saved = self._manager.checkpointables_metadata(number)
                    check_shapes(like, saved.metadata, f"{self._directory}, step {number}")
                    parts = self._manager.load_checkpointables(number, like)
            except (CheckpointError, PeerError):
                raise
            except Exception as error:  # Orbax raises many kinds
                broken[number] = _in_one_line(error)
                continue
            return _Loaded(number, parts, dict(saved.custom_metadata or {}), broken)
        reasons = "; ".join(f"step {number}: {reason}" for number, reason in broken.items())
        raise CheckpointError(f"no readable checkpoint in {self._directory} {reasons}".rstrip())

    def set_aside(self, steps: list[int]) -> None:
        """Renames checkpoints that cannot be read, so that their numbers are free again.

        Of several processes the first renames; the others find it done when they open the folder
        again, where all of them meet.
        """
        self.close()
        for step in steps if jax.process_index() == 0 else ():
            path = self._directory / str(step)
            taken = len(list(self._directory.glob(f"{_BROKEN}{step}*")))
            path.rename(self._directory / f"{_BROKEN}{step}{'-again' * taken}")
        self._manager, self._digests = self._open(), Digests(self._directory)

    def close(self) -> None:
        """Waits for the save in progress and ends.

        Raises:
            CheckpointError: The save failed.
        """
        try:
            with self._explained("save"):
                self._manager.close()
        finally:
            self._digests.close()

    @contextlib.contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        """Turns the many kinds of errors that Orbax raises into one."""
        try:
            with naming_lost_peers():
                yield
        except PeerError:
            raise
        except Exception as error:
            whole = ", ".join(str(step) for step in self.steps()) or "none"
            raise CheckpointError(
                f"could not {action} a checkpoint in {self._directory} (whole so far: {whole}): "
                f"{_in_one_line(error)}"
            ) from error

    def _open(self) -> ocp.training.Checkpointer:
        policies = ocp.training.preservation_policies
        keep: list[Any] = [policies.LatestN(self._config.keep_latest)]
        if self._config.keep_best:
            best = policies.BestN(
                get_metric_fn=lambda metrics: metrics[BEST_BY],
                n=self._config.keep_best,
                keep_checkpoints_without_metrics=False,
            )
            keep.append(best)
        context = ocp.Context()
        context.array.saving.min_slice_bytes_for_replica_parallel = _LEAST_SLICE
        return ocp.training.Checkpointer(
            self._directory,
            preservation_policy=policies.AnyPreservationPolicy(keep),
            context=context,
        )


def like(state: Tree, sharding: Any) -> Tree:
    """Describes a state without its values, on the devices that it shall be restored to.

    Args:
        state: Arrays, or what `jax.eval_shape` gives, in any structure.
        sharding: Where each array shall lie: one sharding, or one for each in the same structure.
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


def _forget_writes_that_outlive_their_save() -> None:
    """Keeps traces off the screen that say nothing beyond the error of the save.

    One write that fails ends the save and its event loop. The others report to that loop all the
    same, from threads of TensorStore, where the error meets nobody who could catch it.
    """
    if isinstance(sys.unraisablehook, _QuietHook):
        return
    sys.unraisablehook = _QuietHook(sys.unraisablehook)


@dataclasses.dataclass(frozen=True)
class _QuietHook:
    otherwise: Callable[[Any], object]

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self.otherwise(unraisable)


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape for path, leaf in leaves
    }

"""Saves and restores the checkpoints of a run.

A checkpoint becomes visible when it is complete, so an incomplete one, left by a killed process, is
never read. Saving runs in the background; `close` waits for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import jax

from resnet_jax.machine.processes import PeerError, naming_lost_peers
from resnet_jax.training.recipe.config import CheckpointConfig
from resnet_jax.training.step.state import TrainState, Variables
from resnet_jax.training.workdir.checkpoint_parts import from_parts, shape_difference, to_parts
from resnet_jax.training.workdir.digests import Digests
from resnet_jax.training.workdir.orbax_checkpointer import BEST_BY, open_checkpointer

_BROKEN = "broken-"


class CheckpointError(ValueError):
    """A checkpoint could not be read or written; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """The result of `Checkpoints.restore`.

    Attributes:
        step: The number of the checkpoint.
        state: The training state.
        notes: The plain values saved with it.
        broken: Newer checkpoints that cannot be read, each with the reason.
    """

    step: int
    state: TrainState
    notes: dict[str, Any]
    broken: dict[int, str]


class _Loaded(NamedTuple):
    """Like `Restored`, with the parts as they were saved."""

    step: int
    parts: dict[str, Any]
    notes: dict[str, Any]
    broken: dict[int, str]


class Checkpoints:
    """The checkpoints of one run; use it in a `with` statement.

    Args:
        directory: Their folder; created if it is missing.
        config: Which of them to keep.
    """

    def __init__(self, directory: pathlib.Path, config: CheckpointConfig) -> None:
        self._directory = directory.absolute()
        self._config = config
        self._manager = open_checkpointer(self._directory, config)
        self._digests = Digests(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # a save in progress waits for the other processes, which may be gone
        self.close()

    def steps(self) -> list[int]:
        """Lists the numbers of the complete checkpoints, in increasing order."""
        return [checkpoint.step for checkpoint in self._manager.checkpoints]

    def save(
        self,
        step: int,
        state: TrainState,
        notes: Mapping[str, Any],
        *,
        validation_accuracy: float | None = None,
    ) -> None:
        """Starts a save in the background, after the previous save has ended.

        The arrays are copied before this returns, so the next step may reuse their memory.

        Args:
            step: The number of the checkpoint; an existing one is kept.
            state: The training state.
            notes: Plain values, for JSON.
            validation_accuracy: Decides which checkpoints are the best; None if unknown.

        Raises:
            CheckpointError: This checkpoint cannot be written, or the previous one could not be.
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
        """Reads the newest undamaged checkpoint onto the devices that `like` names.

        Args:
            like: `jax.ShapeDtypeStruct`s with shardings, in the structure of the state.
            step: Read only this checkpoint.

        Returns:
            The state and the notes saved with it.

        Raises:
            CheckpointError: No checkpoint can be read, or the newest belongs to another network.
        """
        loaded = self._load(to_parts(like), step)
        return Restored(loaded.step, from_parts(loaded.parts), loaded.notes, loaded.broken)

    def restore_variables(
        self, like: Variables, *, averaged: bool, step: int | None = None
    ) -> tuple[int, Variables]:
        """Reads only the variables, for evaluation.

        Args:
            like: `jax.ShapeDtypeStruct`s with shardings.
            averaged: Whether to read the moving averages instead of the live values.
            step: Read only this checkpoint.

        Returns:
            The number of the checkpoint and its variables.

        Raises:
            CheckpointError: As for `restore`.
        """
        part = "average" if averaged else "live"
        loaded = self._load({part: like._asdict()}, step)
        return loaded.step, Variables(**loaded.parts[part])

    def _load(self, like: dict[str, Any], step: int | None) -> _Loaded:
        """Reads the newest undamaged checkpoint, or that of `step`."""
        broken: dict[int, str] = {}
        for number in self._candidates(step):
            fault = self._digests.fault(number)
            if fault is not None:
                broken[number] = fault
                continue
            try:
                with naming_lost_peers():
                    parts, notes = self._read(number, like)
            except (CheckpointError, PeerError):
                raise
            except Exception as error:  # Orbax raises many kinds
                broken[number] = _in_one_line(error)
                continue
            return _Loaded(number, parts, notes, broken)
        reasons = "; ".join(f"step {number}: {reason}" for number, reason in broken.items())
        raise CheckpointError(f"no readable checkpoint in {self._directory} {reasons}".rstrip())

    def _candidates(self, step: int | None) -> list[int]:
        """Lists the checkpoints to try, the newest first; only `step` if it is given."""
        steps = self.steps()
        if not steps or (step is not None and step not in steps):
            have = ", ".join(str(number) for number in steps) or "none"
            wanted = "" if step is None else f" {step}"
            raise CheckpointError(
                f"no checkpoint{wanted} in {self._directory}; it has {have} so far"
            )
        return sorted(steps, reverse=True) if step is None else [step]

    def _read(self, step: int, like: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the parts and notes of a checkpoint, after comparing all shapes."""
        saved = self._manager.checkpointables_metadata(step)
        difference = shape_difference(like, saved.metadata)
        if difference is not None:
            raise CheckpointError(
                f"the checkpoint in {self._directory}, step {step} does not fit the config: "
                f"{difference}"
            )
        parts = self._manager.load_checkpointables(step, like)
        return parts, dict(saved.custom_metadata or {})

    def set_aside(self, steps: list[int]) -> None:
        """Renames checkpoints that cannot be read, so that their numbers are free again.

        Only the first process renames them. Then all processes reopen the folder together.
        """
        self.close()
        for step in steps if jax.process_index() == 0 else ():
            path = self._directory / str(step)
            taken = len(list(self._directory.glob(f"{_BROKEN}{step}*")))
            path.rename(self._directory / f"{_BROKEN}{step}{'-again' * taken}")
        self._manager = open_checkpointer(self._directory, self._config)
        self._digests = Digests(self._directory)

    def close(self) -> None:
        """Waits for the save in progress, and releases the folder.

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
            complete = ", ".join(str(step) for step in self.steps()) or "none"
            raise CheckpointError(
                f"could not {action} a checkpoint in {self._directory} (complete so far: "
                f"{complete}): {_in_one_line(error)}"
            ) from error


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

"""Reads the checkpoints of a run; writes, renames and removes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from absl import logging
from orbax.checkpoint import v1 as ocp

from resnet_jax.buckets import AnyPath, BucketPath, download_files
from resnet_jax.machine.processes import PeerError, naming_lost_peers
from resnet_jax.training.step.state import TrainState, Variables
from resnet_jax.training.workdir.checkpoint_parts import from_parts, shape_difference, to_parts
from resnet_jax.training.workdir.digests import FOLDER, digest_fault
from resnet_jax.training.workdir.orbax_checkpointer import deciding

Step = int | Literal["best"] | None
"""The number of a checkpoint, the best one on the validation split, or None for the last one."""


class CheckpointError(ValueError):
    """A checkpoint could not be read or written; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """A training state that was read from a checkpoint.

    Attributes:
        step: The number of the checkpoint.
        state: The training state.
        notes: The plain values saved with it.
        broken: Newer checkpoints that cannot be read, each with the reason.
        remarks: What the user should know, one line each.
    """

    step: int
    state: TrainState
    notes: dict[str, Any]
    broken: dict[int, str]
    remarks: tuple[str, ...] = ()


class RestoredVariables(NamedTuple):
    """Variables that were read from a checkpoint.

    Attributes:
        step: The number of the checkpoint.
        variables: Parameters and statistics.
        remarks: What the user should know, one line each.
    """

    step: int
    variables: Variables
    remarks: tuple[str, ...]


class _Loaded(NamedTuple):
    """Like `Restored`, with the parts as they were saved."""

    step: int
    parts: dict[str, Any]
    notes: dict[str, Any]
    broken: dict[int, str]
    remarks: tuple[str, ...]


class StoredCheckpoints:
    """The checkpoints in a folder.

    Args:
        directory: Their folder. In a bucket, those exist that have a digest, and one is downloaded
            when it is read.
    """

    def __init__(self, directory: AnyPath) -> None:
        self._place = directory.absolute()
        # Orbax logs every step, and the traceback of every error that it also raises.
        logging.set_verbosity(logging.FATAL)

    def steps(self) -> list[int]:
        """Lists the numbers of the complete checkpoints, in increasing order."""
        if isinstance(self._place, BucketPath):
            names = [file.path.stem for file in (self._place / FOLDER).files()]
        elif self._place.is_dir():
            names = [path.name for path in self._place.iterdir()]
        else:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def best(self) -> tuple[int, float] | None:
        """Finds the checkpoint with the highest accuracy, or precision, on the validation split.

        Returns:
            Its number and this metric; None if none was measured. Of equals, the last one.
        """
        values = ((self._deciding(step), step) for step in self.steps())
        measured = [(value, step) for value, step in values if value is not None]
        if not measured:
            return None
        value, step = max(measured)
        return step, value

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
        state = from_parts(loaded.parts)
        return Restored(loaded.step, state, loaded.notes, loaded.broken, loaded.remarks)

    def restore_variables(
        self, like: Variables, *, averaged: bool, step: Step = None
    ) -> RestoredVariables:
        """Reads only the variables, for evaluation.

        Args:
            like: `jax.ShapeDtypeStruct`s with shardings.
            averaged: Whether to read the moving averages instead of the live values.
            step: Which checkpoint to read.

        Raises:
            CheckpointError: As for `restore`, or no checkpoint was measured and `step` is `best`.
        """
        part = "average" if averaged else "live"
        loaded = self._load({part: like._asdict()}, step)
        return RestoredVariables(loaded.step, Variables(**loaded.parts[part]), loaded.remarks)

    def _load(self, like: dict[str, Any], step: Step) -> _Loaded:
        """Reads the newest undamaged checkpoint, or that of `step`."""
        broken: dict[int, str] = {}
        for number in self._candidates(step):
            with self._on_disk(number) as directory:
                fault = digest_fault(directory, number)
                if fault is not None and fault.spoils:
                    broken[number] = fault.reason
                    continue
                try:
                    with naming_lost_peers():
                        parts, notes = self._read(directory / str(number), like)
                except (CheckpointError, PeerError):
                    raise
                except Exception as error:  # Orbax raises many kinds
                    broken[number] = in_one_line(error)
                    continue
            remarks = [
                f"checkpoint {other} cannot be read, so {number} is used: {reason}"
                for other, reason in broken.items()
            ]
            if fault is not None:
                remarks.append(fault.reason)
            return _Loaded(number, parts, notes, broken, tuple(remarks))
        reasons = "; ".join(f"step {number}: {reason}" for number, reason in broken.items())
        raise CheckpointError(f"no readable checkpoint in {self._place} {reasons}".rstrip())

    def _candidates(self, step: Step) -> list[int]:
        """Lists the checkpoints to try, the newest first; only `step` if it is given."""
        steps = self.steps()
        if step == "best":
            best = self.best()
            if best is None:
                raise CheckpointError(
                    f"no checkpoint in {self._place} was measured on a validation split, so "
                    "none is the best; give the number of one"
                )
            step = best[0]
        if not steps or (step is not None and step not in steps):
            have = ", ".join(str(number) for number in steps) or "none"
            wanted = "" if step is None else f" {step}"
            raise CheckpointError(f"no checkpoint{wanted} in {self._place}; it has {have} so far")
        return sorted(steps, reverse=True) if step is None else [step]

    @contextlib.contextmanager
    def _on_disk(self, step: int) -> Iterator[pathlib.Path]:
        """Gives a folder on this machine with a checkpoint and its digest."""
        if not isinstance(self._place, BucketPath):
            yield self._place
            return
        with tempfile.TemporaryDirectory(prefix="resnet_jax_") as folder:
            files = {
                str(file.path.relative_to(self._place)): file.path
                for file in (self._place / str(step)).files()
            }
            files[f"{FOLDER}/{step}.json"] = self._place / FOLDER / f"{step}.json"
            download_files(files, pathlib.Path(folder))
            yield pathlib.Path(folder)

    def _read(
        self, place: pathlib.Path, like: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads the parts and notes of a checkpoint, after comparing all shapes."""
        saved = ocp.checkpointables_metadata(place)
        difference = shape_difference(like, saved.metadata)
        if difference is not None:
            raise CheckpointError(
                f"the checkpoint in {self._place}, step {place.name} does not fit the config: "
                f"{difference}"
            )
        return ocp.load_checkpointables(place, like), dict(saved.custom_metadata or {})

    def _deciding(self, step: int) -> float | None:
        metrics = self.metrics(step)
        found = deciding(metrics) if isinstance(metrics, dict) else {}
        return next(iter(found.values()), None)

    def metrics(self, step: int) -> Any:
        """Reads the metrics of a checkpoint: a dict; None if there are none or they are damaged."""
        try:
            return json.loads((self._place / str(step) / "metrics" / "metrics").read_bytes())
        except (OSError, ValueError):
            return None


def in_one_line(error: Exception) -> str:
    """Shortens the messages of Orbax."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]

"""Saves the checkpoints of a run, and keeps their folder in order.

A checkpoint becomes visible when it is complete, so an incomplete one, left by a killed process, is
never read. Saving runs in the background; `close` waits for it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax

from resnet_jax.buckets import AnyPath
from resnet_jax.local_paths import local_path
from resnet_jax.machine.processes import PeerError, naming_lost_peers, wait_for_all
from resnet_jax.training.recipe.config import CheckpointConfig
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.workdir.checkpoint_parts import to_parts
from resnet_jax.training.workdir.digests import Digests
from resnet_jax.training.workdir.layout import REPLACED
from resnet_jax.training.workdir.orbax_checkpointer import deciding, open_checkpointer
from resnet_jax.training.workdir.remote import Mirror, collect_part
from resnet_jax.training.workdir.stored import CheckpointError, StoredCheckpoints, in_one_line

_BROKEN = "broken-"


class Checkpoints(StoredCheckpoints):
    """The checkpoints of one run; use it in a `with` statement.

    Args:
        directory: Their folder; created if it is missing.
        config: Which of them to keep.
        mirror: Uploads them, if the folder is the copy of one in a bucket. Then each process has a
            copy of its own.

    Attributes:
        unreadable: Checkpoints that were set aside because Orbax opens no folder with them, each
            with the reason.
    """

    def __init__(
        self, directory: AnyPath, config: CheckpointConfig, *, mirror: Mirror | None = None
    ) -> None:
        self._directory = local_path(directory).absolute()
        super().__init__(self._directory)
        self._config = config
        self._mirror = mirror
        # Whether this process names complete checkpoints in its folder, and removes old ones.
        self._is_first = jax.process_index() == 0
        self._settle_replaced()
        self.unreadable = {
            step: "its metrics are damaged"
            for step in self.steps()
            if (self._directory / str(step) / "metrics" / "metrics").exists()
            and not isinstance(self.metrics(step), dict)
        }
        self._rename(list(self.unreadable))
        self._open()

    def _open(self) -> None:
        shared = self._mirror is None or jax.process_count() == 1
        self._manager = open_checkpointer(self._directory, self._config, shared=shared)
        written = self._mirror.request if self._mirror is not None else lambda: None
        self._digests = Digests(self._directory, written=written)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and jax.process_count() > 1:
            return  # a save in progress waits for the other processes, which may be gone
        self.close()

    def save(
        self,
        step: int,
        state: TrainState,
        notes: Mapping[str, Any],
        *,
        measured: Mapping[str, float | None] | None = None,
    ) -> None:
        """Starts a save in the background, after the previous save has ended.

        The arrays are copied before this returns, so the next step may reuse their memory.

        Args:
            step: The number of the checkpoint; an existing one is kept.
            state: The training state.
            notes: Plain values, for JSON.
            measured: Metrics after this step. One of them decides which checkpoints are the best:
                the accuracy on the validation split, or the mean average precision.

        Raises:
            CheckpointError: This checkpoint cannot be written, or the previous one could not be.
        """
        if step in self.steps():
            return
        if self._mirror is not None:
            self._mirror.raise_error()
        metrics = deciding(measured or {}) or None
        if self._is_first:
            self._digests.forget(step)
        with self._explained("save"):
            saving = self._manager.save_checkpointables_async(
                step, to_parts(state), force=True, metrics=metrics, custom_metadata=dict(notes)
            )
        if self._is_first:
            self._digests.expect(step)
        elif self._mirror is not None:
            self._digests.after(lambda: collect_part(self._directory, step, saving=saving))

    def set_aside(self, steps: list[int]) -> None:
        """Renames checkpoints that cannot be read, so that their numbers are free again.

        Only the first process renames them, if all see the same folder. Then all processes reopen
        it together.
        """
        self.close()
        self._rename(steps)
        self._open()

    def free(self, step: int) -> None:
        """Frees the number of a checkpoint that is to be saved again.

        The old one stays in the folder until the new one is complete, and takes its number again if
        the process is killed before.
        """
        self.close()
        if self._is_first or self._mirror is not None:
            (self._directory / str(step)).rename(self._directory / f"{REPLACED}{step}")
        wait_for_all("free")
        self._open()

    def _settle_replaced(self) -> None:
        """Removes checkpoints that others have replaced, and gives back those that none has."""
        old = list(self._directory.glob(f"{REPLACED}*"))
        for path in old if self._is_first or self._mirror is not None else ():
            place = self._directory / path.name.removeprefix(REPLACED)
            if place.is_dir():
                shutil.rmtree(path)
            else:
                path.rename(place)
        if old:
            wait_for_all("settle replaced")

    def _rename(self, steps: list[int]) -> None:
        for step in steps if self._is_first or self._mirror is not None else ():
            path = self._directory / str(step)
            taken = len(list(self._directory.glob(f"{_BROKEN}{step}*")))
            path.rename(self._directory / f"{_BROKEN}{step}{'-again' * taken}")
        if steps:
            wait_for_all("set aside")

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
        self._settle_replaced()

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
                f"{complete}): {in_one_line(error)}"
            ) from error

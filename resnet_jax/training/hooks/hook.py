"""Hooks: what a program can do at the start, the records, the checkpoints and the end of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import jax

from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.workdir.records import MetricsRecord


@dataclasses.dataclass(frozen=True)
class RunStart:
    """What a hook is told about a run before its first step.

    Attributes:
        config: The recipe, with what was worked out from the data.
        workdir: The run's folder.
        step: Batches seen before: 0 for a new run, more for one that resumes.
        total_steps: Batches of the whole run.
    """

    config: TrainConfig
    workdir: pathlib.Path
    step: int
    total_steps: int


class Hook(Protocol):
    """Derive from this class and define the methods that you need; the others do nothing.

    Only the first process of a run calls its hooks, between two steps. An exception in a hook ends
    the run as any other would; checkpoints stay.
    """

    def start(self, run: RunStart) -> None:
        """Is called before the first step, also when a run resumes."""

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Is called with every record of `metrics.jsonl`.

        Args:
            step: Batches seen so far.
            values: Numbers by name; None if there is nothing to report.
        """

    def checkpoint(self, step: int, path: pathlib.Path) -> None:
        """Is called when a checkpoint has been started; it is complete when its folder exists."""

    def end(self, status: str, record: MetricsRecord) -> None:
        """Is called once, whatever ends the run.

        Args:
            status: `finished`, `interrupted` by a signal after saving, or `failed` by an error.
            record: The last record.
        """


class Hooks:
    """Calls several hooks in their order, in the first process only.

    Args:
        hooks: The hooks.
    """

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = tuple(hooks) if jax.process_index() == 0 else ()
        self._last: MetricsRecord = {}
        self._is_over = False

    @contextlib.contextmanager
    def during(self, run: RunStart, records: Sequence[MetricsRecord]) -> Iterator[None]:
        """Starts the hooks, and ends them with the block.

        Args:
            run: The run.
            records: Its records so far.
        """
        self._last = records[-1] if records else {}
        started: list[Hook] = []
        status = "failed"
        try:
            for hook in self._hooks:
                hook.start(run)
                started.append(hook)
            yield
            status = "finished" if self._is_over else "interrupted"
        finally:
            for hook in started:
                hook.end(status, self._last)

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Passes a record on."""
        self._last = {"step": step, **values}
        for hook in self._hooks:
            hook.record(step, values)

    def finish(self) -> None:
        """Notes that the run has done its last step."""
        self._is_over = True

    def checkpoint(self, step: int, path: pathlib.Path) -> None:
        """Passes a checkpoint on."""
        for hook in self._hooks:
            hook.checkpoint(step, path)

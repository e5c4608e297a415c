"""Everyone who follows a run: the trace, the file of records, the hooks and the screen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.console import Console

from resnet_jax.local_paths import local_path
from resnet_jax.machine.debugging import StepTrace
from resnet_jax.training.hooks.hook import Hook, Hooks, RunStart
from resnet_jax.training.progress import ProgressReport, say
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import MetricsLog, MetricsRecord


class Reports(NamedTuple):
    """What follows a run, opened."""

    files: Workdir
    trace: StepTrace
    log: MetricsLog
    hooks: Hooks
    progress: ProgressReport

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Passes on the record of a step."""
        self.log.write(step, values)
        self.hooks.record(step, values)
        self.progress.show(step, values)


@contextlib.contextmanager
def reporting(
    run: RunStart,
    records: Sequence[MetricsRecord],
    *,
    recorded: int,
    hooks: Sequence[Hook],
    console: Console,
    profile: bool,
) -> Iterator[Reports]:
    """Opens everything that follows a run, and closes it with the block.

    Args:
        run: The run.
        records: Its records so far.
        recorded: The step of the last of them that is kept.
        hooks: The hooks.
        console: The screen.
        profile: Whether to trace a few steps.
    """
    files, told = Workdir(run.workdir), Hooks(hooks)
    with (
        StepTrace(local_path(files.profile) if profile else None, first=run.step + 10) as trace,
        MetricsLog(files, start=recorded) as log,
        told.during(run, records),
        ProgressReport(console, start=run.step, total=run.total_steps) as progress,
    ):
        if log.remark is not None:
            say(console, log.remark)
        yield Reports(files, trace, log, told, progress)

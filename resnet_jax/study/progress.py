"""Reports the progress of a whole study, over all of its networks, with the time left."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from resnet_jax.study.plan import StudyRun

Say = Callable[[str], None]


class StudyProgress:
    """Counts the epochs of all networks, each weighted by the network's depth.

    A terminal has a bar for the study; elsewhere each epoch is a line. Use it in a `with`
    statement.

    Args:
        runs: All trainings of the study.
        epochs: The epochs of each.
        console: Where to report.
    """

    def __init__(self, runs: Sequence[StudyRun], epochs: int, console: Console) -> None:
        self._console = console
        self._left = dict.fromkeys(runs, epochs)
        self._epochs = epochs
        self._total = epochs * sum(run.depth for run in runs)
        self._first: list[float] = []  # seconds per layer of epochs in which a step was compiled
        self._later: list[float] = []
        self._compiled: set[StudyRun] = set()
        self._bar = _make_bar(console) if console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", total=self._total)

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """Shows the bar, if there is one, within the block."""
        with self._bar or contextlib.nullcontext():
            yield

    def say(self, line: str) -> None:
        """Prints a line unchanged."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def found(self, run: StudyRun, epochs: int) -> None:
        """Counts epochs that an earlier call has trained; their speed says nothing about this."""
        self._left[run] -= epochs
        self._show("")

    def trained(self, run: StudyRun, *, seconds: float, result: str) -> None:
        """Counts an epoch.

        Args:
            run: The network.
            seconds: What the epoch took.
            result: Its errors, to be shown.
        """
        self._left[run] -= 1
        (self._later if run in self._compiled else self._first).append(seconds / run.depth)
        self._compiled.add(run)
        number = self._epochs - self._left[run]
        self._show(f"{run.name}  epoch {number}/{self._epochs}  {result}")

    @property
    def seconds_left(self) -> float | None:
        """Seconds for all that is left, at the speed of this call so far; None before an epoch.

        The first epoch of each network in this call compiles its step.
        """
        if not self._first:
            return None
        first = statistics.mean(self._first)
        later = statistics.mean(self._later) if self._later else first
        to_compile = sum(
            run.depth for run, epochs in self._left.items() if epochs and run not in self._compiled
        )
        return later * self._units_left + (first - later) * to_compile

    @property
    def _units_left(self) -> int:
        return sum(run.depth * epochs for run, epochs in self._left.items())

    def _show(self, text: str) -> None:
        seconds = self.seconds_left
        left = "" if seconds is None else f"  {as_time(seconds)} left for all networks"
        if self._bar is not None and self._task is not None:
            done = self._total - self._units_left
            self._bar.update(self._task, completed=done, description=text + left)
        elif text:
            self.say(text + left)


def as_time(seconds: float) -> str:
    """Formats a duration as `1:02:03`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _make_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
    )

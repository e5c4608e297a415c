"""Reports the progress of a run: as a bar on a terminal, otherwise as plain lines."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Self

import jax
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


class ProgressReport:
    """Shows the progress of a run; use it in a `with` statement. Only the first process prints.

    Args:
        console: Where to print.
        start: Number of steps done by earlier calls.
        total: Number of steps in the run.
    """

    def __init__(self, console: Console, *, start: int, total: int) -> None:
        self._console = console
        self._start = start
        self._total = total
        self._first: float | None = None
        self._bar = None
        if console.is_terminal and jax.process_index() == 0:
            self._bar = _make_bar(console)
            self._task = self._bar.add_task("", total=total, completed=start)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1) -> None:
        """Counts steps."""
        if self._first is None:
            # The first step compiles, so the time left is estimated from its end.
            self._first = time.perf_counter()
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def show(self, step: int, values: Mapping[str, float | None]) -> None:
        """Shows the record written after a step."""
        text = "  ".join(_phrases(values))
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        elif jax.process_index() == 0:
            say(self._console, f"step {step}/{self._total}  {text}{self._time_left(step)}")

    def _time_left(self, step: int) -> str:
        done = step - self._start - 1
        if self._first is None or done < 1:
            return ""
        seconds = (time.perf_counter() - self._first) / done * (self._total - step)
        return f"  {int(seconds // 60)}:{int(seconds % 60):02d} left"


@dataclasses.dataclass(frozen=True)
class Stopwatch:
    """Measures the speed of the steps after step `start`; starts when constructed."""

    start: int
    began: float = dataclasses.field(default_factory=time.perf_counter)

    def steps_per_second(self, step: int) -> float:
        """Averages over the steps up to this one."""
        return (step - self.start) / (time.perf_counter() - self.began)


def say(console: Console, text: str) -> None:
    """Prints a line unchanged, in the first process only."""
    if jax.process_index() == 0:
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _make_bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(),
        console=console,
    )


def _phrases(values: Mapping[str, float | None]) -> list[str]:
    """Formats the main numbers of a record."""
    wording = {
        "train_loss": "loss {:.3f}",
        "train_accuracy": "accuracy {:.1%}",
        "validation_accuracy": "validation {:.2%}",
        "images_per_second": "{:,.0f} images/s",
    }
    known = ((text, values.get(name)) for name, text in wording.items())
    phrases = [text.format(value) for text, value in known if value is not None]
    count, expected = values.get("validation_count"), values.get("validation_expected")
    if count != expected:
        phrases.append(f"counted {count:.0f} of {expected:.0f} images for validation")
    return phrases

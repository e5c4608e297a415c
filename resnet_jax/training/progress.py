"""Reports the progress of a run: as a bar on a terminal, otherwise as plain lines."""

from __future__ import annotations

import dataclasses
import math
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
from rich.table import Column

from resnet_jax.errors import noun_for

_ROUNDING = 1e-6  # of an epoch's fraction, such as 3 / 7 * 7


class ProgressReport:
    """Shows the progress of a run; use it in a `with` statement. Only the first process prints.

    On a terminal, a bar shows the newest record, and a line for each epoch stays above it. The
    first step compiles the network; the report says when that begins and how long it took.

    Args:
        console: Where to print.
        start: Number of steps done by earlier calls.
        total: Number of steps in the run.
    """

    def __init__(self, console: Console, *, start: int, total: int) -> None:
        self._console = console
        self._start = start
        self._total = total
        self._began = time.perf_counter()
        self._first: float | None = None
        self._epoch = 0
        self._bar = None
        if console.is_terminal and jax.process_index() == 0:
            self._bar = _make_bar(console)
            self._task = self._bar.add_task("", total=total, completed=start)

    def __enter__(self) -> Self:
        say(self._console, "compiling the first step")
        self._began = time.perf_counter()
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
            say(self._console, f"compiled in {self._first - self._began:.1f} s")
        if self._bar is not None:
            self._bar.advance(self._task, steps)

    def show(self, step: int, values: Mapping[str, float | None]) -> None:
        """Shows the record written after a step."""
        text = "  ".join(_phrases(values))
        if self._bar is None:
            say(self._console, f"step {step}/{self._total}  {text}{self._time_left(step)}")
            return
        self._bar.update(self._task, description=text)
        epoch = math.floor((values.get("epoch") or 0) + _ROUNDING)
        if epoch > self._epoch or step == self._total:
            self._epoch = epoch
            say(self._console, f"epoch {values.get('epoch') or 0:g}  {text}")

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
    # Only the numbers of the newest record give way where the screen is narrow.
    fixed = Column(no_wrap=True)
    return Progress(
        BarColumn(bar_width=10, table_column=fixed),
        TaskProgressColumn(table_column=fixed),
        MofNCompleteColumn(table_column=fixed),
        TimeRemainingColumn(compact=True, table_column=fixed),
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=console,
        expand=True,
    )


def _phrases(values: Mapping[str, float | None]) -> list[str]:
    """Formats the main numbers of a record."""
    wording = {
        "train_loss": "loss {:.3f}",
        "train_accuracy": "accuracy {:.1%}",
        "train_f1": "F1 {:.1%}",
        "validation_accuracy": "validation {:.2%}",
        "validation_mean_average_precision": "validation mAP {:.2%}",
        "images_per_second": "{:,.0f} images/s",
    }
    known = ((text, values.get(name)) for name, text in wording.items())
    phrases = [text.format(value) for text, value in known if value is not None]
    count, expected = values.get("validation_count"), values.get("validation_expected")
    if count != expected:
        images = noun_for(expected or 0, "image")
        phrases.append(f"counted {count:.0f} of {expected:.0f} {images} for validation")
    return phrases

"""Ours and its peers in turn: each in a process of its own, one round after the other.

A contestant is a program that gets ready, says so, and then for every line `N` that it reads does N
steps and answers with the seconds that they took; a step before them brings back what the machine
took away from it while it waited. All of them stay alive through a contest, and one works while the
others wait, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

READY = "ready"
Contestants = Mapping[str, subprocess.Popen[str]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of docs/benchmarks.md.

    Attributes:
        name: What was measured, with its unit.
        ours: Our figure.
        peers: Those of the others, by name.
        limit: What the machine could do at best, in the same unit; None where nothing says.
        ratio: How many times as good as the best of the peers ours is.
        goal: The ratio to reach.
        spread: Half of the distance between the quartiles over the median, the largest of all.
        command: What measured it.
    """

    name: str
    ours: float | None
    peers: Mapping[str, float]
    limit: float | None
    ratio: float | None
    goal: float | None
    spread: float | None
    command: str


def serve(step: Callable[[], Any]) -> None:
    """Is a contestant: calls `step` as often as it is told, with one call before for warmth."""
    step()
    serve_each(lambda _: step)


def serve_each(prepare: Callable[[str], Callable[[], Any]]) -> None:
    """Is a contestant that is told what to do as well: `prepare` makes the step of a name."""
    print(READY, flush=True)
    known = ""
    step = None
    for line in sys.stdin:
        count, _, name = line.strip().partition(" ")
        if step is None or name != known:
            known, step = name, prepare(name)
            step()
        step()
        begin = time.perf_counter()
        for _ in range(int(count)):
            step()
        print(time.perf_counter() - begin, flush=True)


def contest(
    commands: Mapping[str, Sequence[str]], *, rounds: int, steps: int
) -> dict[str, list[float]]:
    """Has programs work in turn.

    Args:
        commands: The contestants' arguments for Python, by name.
        rounds: How often each has its turn.
        steps: Steps in a turn.

    Returns:
        Seconds a step, a figure for each turn, of those that got ready.
    """
    with ready(commands) as contestants:
        return turns(contestants, rounds=rounds, steps=steps)


@contextlib.contextmanager
def ready(commands: Mapping[str, Sequence[str]]) -> Iterator[Contestants]:
    """Starts programs, and gives those that got ready; all end with the context."""
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(_start(words)) for name, words in commands.items()}
        yield {name: process for name, process in running.items() if _answer(process) == READY}


def turns(
    contestants: Contestants, *, rounds: int, steps: int, what: str = ""
) -> dict[str, list[float]]:
    """Has programs that are ready work in turn, where they `serve_each` on what is named.

    Returns:
        Seconds a step, a figure for each turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, process in contestants.items():
            assert process.stdin is not None
            process.stdin.write(f"{steps} {what}\n")
            process.stdin.flush()
            seconds[name].append(float(_answer(process)) / steps)
    return seconds


def row(
    name: str,
    figures: Mapping[str, Sequence[float]],
    *,
    limit: float | None,
    goal: float | None,
    less_is_better: bool = False,
) -> Row:
    """Sums up a contest.

    Args:
        name: What was measured, with its unit.
        figures: Of each contestant, a figure a turn; the first is ours, and other forms of ours
            begin with `ours` too: the ratio leaves them out.
        limit: What the machine could do at best.
        goal: The ratio to reach.
        less_is_better: Whether the figures are times or sizes, and no rates.
    """
    medians = {who: statistics.median(values) for who, values in figures.items()}
    ours, *_ = medians
    peers = {who: value for who, value in medians.items() if who != ours}
    others = [value for who, value in peers.items() if not who.startswith(ours)]
    ratio = None
    if others:
        ratio = min(others) / medians[ours] if less_is_better else medians[ours] / max(others)
    spread = max(_spread(values) for values in figures.values())
    return Row(name, medians[ours], peers, limit, ratio, goal, spread, command())


def write(path: pathlib.Path, rows: Sequence[Row], limits: Mapping[str, float]) -> None:
    """Writes rows and where they were measured."""
    content = {
        "machine": machine(),
        "limits": limits,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def show(row: Row) -> None:
    """Prints a row."""
    figures = {"ours": row.ours, **row.peers, "limit": row.limit}
    text = "  ".join(f"{who} {value:.4g}" for who, value in figures.items() if value is not None)
    ratio = "" if row.ratio is None else f"  ratio {row.ratio:.2f}"
    ratio += "" if row.goal is None else f" (goal {row.goal:.2f})"
    print(f"{row.name}: {text}{ratio}", flush=True)


def machine() -> dict[str, str]:
    """Describes this machine and what is installed on it."""
    names = ("jax", "jaxlib", "flax", "optax", "torch", "torchvision", "timm", "simplejpeg")
    cpu = pathlib.Path("/proc/cpuinfo")
    models = (
        [line for line in cpu.read_text().splitlines() if "model name" in line]
        if (cpu.exists())
        else []
    )
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        **_accelerators(),
        "python": platform.python_version(),
        **{name: found for name in names if (found := _version(name))},
    }


def _accelerators() -> dict[str, str]:
    """Names NVIDIA's GPUs; without jax, which would take hold of them."""
    if shutil.which("nvidia-smi") is None:
        return {}
    query = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    done = subprocess.run(query, capture_output=True, text=True)
    return {} if done.returncode else {"accelerators": ", ".join(done.stdout.splitlines())}


def command() -> str:
    """Repeats the command line of this program."""
    script = pathlib.Path(sys.argv[0])
    return " ".join(["python", "-m", f"benchmarks.{script.stem}", *sys.argv[1:]])


@contextlib.contextmanager
def _start(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _spread(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

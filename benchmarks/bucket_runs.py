"""What a run pays for a folder in a bucket: requests, and time.

Command: python -m benchmarks.bucket_runs --json=benchmarks/results/bucket_runs.json

It trains the digits recipe with its folder on the disk and in buckets, one after the other and
again, each time in a process of its own, and divides the seconds of the steps. The servers of the
buckets, and the proxy that counts requests, run on the same processor as the training, so they take
part of it. Seconds of the training's process alone say what the run itself does in addition.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.bucket_servers import BucketServers
from resnet_jax.training.hooks import Hook, RunStart
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLACES = ("disk", "gs", "s3")


@dataclasses.dataclass
class Clock(Hook):
    """A hook that notes when the first and the last record come: seconds, and processor seconds."""

    first: tuple[float, float] | None = None
    last: tuple[float, float] = (0.0, 0.0)

    def start(self, run: RunStart) -> None:
        """Does nothing."""

    def checkpoint(self, step: int, path: pathlib.Path) -> None:
        """Does nothing."""

    def end(self, status: str, record: Mapping[str, Any]) -> None:
        """Does nothing."""

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Notes the time of a record; the first one comes after compilation."""
        del step, values
        self.last = time.perf_counter(), time.process_time()
        self.first = self.first or self.last


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--every", type=int, default=5, help="epochs between checkpoints")
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    parser.add_argument("--workdir", help=argparse.SUPPRESS)  # of one run, in its own process
    flags = parser.parse_args(arguments)
    if flags.workdir:
        print(json.dumps(one_run(flags)))
        return 0
    with BucketServers() as servers:
        os.environ.update(servers.environment)
        requests = {place: count(flags, servers, place) for place in PLACES[1:]}
        print(json.dumps(requests, indent=2), flush=True)
        result = {
            "network": flags.network,
            "requests": requests,
            **compare(flags, servers),
        }
    print(json.dumps(result, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def one_run(flags: argparse.Namespace) -> dict[str, float]:
    """Trains once; returns the seconds of the steps, and those from the last step to the end."""
    words = [
        f"--config.model.name={flags.network}",
        f"--config.epochs={flags.epochs}",
        f"--config.checkpoint.every_epochs={flags.every}",
        "--config.log_every_steps=5",
        "--config.schedule.name=constant",  # whose warm-up fits into any number of epochs
        "--config.schedule.warmup_epochs=0.0",
    ]
    clock = Clock()
    train(parse_overrides(load_recipe("digits"), words), flags.workdir, hooks=[clock])
    assert clock.first is not None
    (begin, begin_processor), (end, end_processor) = clock.first, clock.last
    return {
        "steps": end - begin,
        "steps, processor": end_processor - begin_processor,
        "after": time.perf_counter() - end,
    }


def count(flags: argparse.Namespace, servers: BucketServers, place: str) -> dict[str, int]:
    """Counts the requests of runs of two and three epochs, with checkpoints and with one only."""
    servers.create_bucket(place, "counts")
    totals: dict[tuple[int, int], collections.Counter[str]] = {}
    for epochs in (2, 3):
        for every in (1, 1000):
            with servers.proxies[place].counting() as totals[epochs, every]:
                _train(flags, f"{place}://counts/{epochs}-{every}", epochs, every)
    epoch = totals[3, 1000].total() - totals[2, 1000].total()
    checkpoint = totals[3, 1] - totals[2, 1]
    removals = checkpoint["DELETE"]
    written = checkpoint.total() - epoch - removals
    return {
        "per epoch without a checkpoint, and so per step": epoch,
        "per checkpoint": written,
        "to remove an older one": removals,
        # The run of two epochs writes one checkpoint, and has none to remove.
        "at the start and the end": totals[2, 1000].total() - 2 * epoch - written,
    }


def compare(flags: argparse.Namespace, servers: BucketServers) -> dict[str, Any]:
    """Trains with each kind of folder in turn."""
    runs: dict[str, list[dict[str, float]]] = {place: [] for place in PLACES}
    for number in range(flags.rounds):
        for place in PLACES:
            with tempfile.TemporaryDirectory() as folder:
                if place != "disk":
                    servers.create_bucket(place, f"round-{number}")
                    folder = f"{place}://round-{number}"
                runs[place].append(_train(flags, f"{folder}/run", flags.epochs, flags.every))
    return {
        "epochs": flags.epochs,
        "epochs between checkpoints": flags.every,
        "rounds": flags.rounds,
        "median seconds": {
            place: {name: _median(run[name] for run in of_place) for name in of_place[0]}
            for place, of_place in runs.items()
        },
        "slower than on the disk, percent, median of the rounds": {
            place: {
                name: _median(
                    100 * (run[name] / disk[name] - 1)
                    for run, disk in zip(runs[place], runs["disk"], strict=True)
                )
                for name in ("steps", "steps, processor")
            }
            for place in PLACES[1:]
        },
        "rounds on the disk, percent from their median": {
            name: _spread([run[name] for run in runs["disk"]])
            for name in ("steps", "steps, processor")
        },
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def _spread(values: Sequence[float]) -> list[float]:
    middle = statistics.median(values)
    return [round(100 * (value / middle - 1), 1) for value in (min(values), max(values))]


def _train(flags: argparse.Namespace, workdir: str, epochs: int, every: int) -> dict[str, float]:
    words = [f"--workdir={workdir}", f"--epochs={epochs}", f"--every={every}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bucket_runs", *words, f"--network={flags.network}"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())

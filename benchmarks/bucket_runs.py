"""What a run pays for a folder in a bucket: requests, and time.

Command: python -m benchmarks.bucket_runs --json=benchmarks/results/bucket_runs.json

It trains the digits recipe with its folder on the disk and in buckets, one after the other and
again, each time in a process of its own, and divides the seconds of the steps. The servers of the
buckets, and the proxy that counts requests, run on the same processor as the training, so they take
part of it: over a network, a run pays less of its own time.
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
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.bucket_servers import BucketServers
from resnet_jax.training.hooks import Hook, RunStart

ROOT = pathlib.Path(__file__).resolve().parents[1]
PLACES = ("disk", "gs", "s3")


@dataclasses.dataclass
class Clock(Hook):
    """A hook that notes when the steps begin and end."""

    first: float = 0.0
    last: float = 0.0

    def start(self, run: RunStart) -> None:
        """Does nothing."""

    def checkpoint(self, step: int, path: pathlib.Path) -> None:
        """Does nothing."""

    def end(self, status: str, record: Mapping[str, Any]) -> None:
        """Does nothing."""

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Notes the time of a record; the first one comes after compilation."""
        del step, values
        self.last = time.perf_counter()
        self.first = self.first or self.last


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--every", type=int, default=1, help="epochs between checkpoints")
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    parser.add_argument("--workdir", help=argparse.SUPPRESS)  # of one run, in its own process
    flags = parser.parse_args(arguments)
    if flags.workdir:
        print(json.dumps(one_run(flags)))
        return 0
    with BucketServers() as servers:
        os.environ.update(servers.environment)
        result = compare(flags, servers)
    print(json.dumps(result, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def one_run(flags: argparse.Namespace) -> dict[str, float]:
    """Trains once, and returns the seconds of the steps and those of the rest after them."""
    from resnet_jax.training.loop import train
    from resnet_jax.training.recipe.load import load_recipe
    from resnet_jax.training.recipe.overrides import parse_overrides

    words = [
        f"--config.model.name={flags.network}",
        f"--config.epochs={flags.epochs}",
        f"--config.checkpoint.every_epochs={flags.every}",
        "--config.log_every_steps=5",
    ]
    clock = Clock()
    train(parse_overrides(load_recipe("digits"), words), flags.workdir, hooks=[clock])
    return {"steps": clock.last - clock.first, "after": time.perf_counter() - clock.last}


def compare(flags: argparse.Namespace, servers: BucketServers) -> dict[str, Any]:
    """Trains with each kind of folder in turn."""
    seconds: dict[str, list[dict[str, float]]] = {place: [] for place in PLACES}
    requests: dict[str, dict[str, float]] = {}
    for number in range(flags.rounds):
        for place in PLACES:
            if place == "disk":
                with tempfile.TemporaryDirectory() as folder:
                    seconds[place].append(_train(flags, folder, flags.epochs))
                continue
            bucket = f"round-{number}"
            servers.create_bucket(place, bucket)
            with servers.proxies[place].counting() as count:
                seconds[place].append(_train(flags, f"{place}://{bucket}/run", flags.epochs))
            if place not in requests:
                requests[place] = _count(flags, servers, place, f"{place}://{bucket}", count)
    disk = statistics.median(run["steps"] for run in seconds["disk"])
    return {
        "network": flags.network,
        "epochs": flags.epochs,
        "requests": requests,
        "seconds of the steps, median": {
            place: round(statistics.median(run["steps"] for run in runs), 2)
            for place, runs in seconds.items()
        },
        "slower than on the disk, percent, median of rounds": {
            place: round(
                statistics.median(
                    100 * (run["steps"] / disk_run["steps"] - 1)
                    for run, disk_run in zip(runs, seconds["disk"], strict=True)
                ),
                1,
            )
            for place, runs in seconds.items()
            if place != "disk"
        },
        "seconds after the last step, median": {
            place: round(statistics.median(run["after"] for run in runs), 2)
            for place, runs in seconds.items()
        },
        "spread of the disk, percent": round(
            100 * (max(run["steps"] for run in seconds["disk"]) / disk - 1), 1
        ),
    }


def _count(
    flags: argparse.Namespace,
    servers: BucketServers,
    place: str,
    folder: str,
    count: collections.Counter[str],
) -> dict[str, float]:
    """Divides the requests of a run, by runs of other lengths and with fewer checkpoints."""
    counts = {}
    for name, epochs, every in (("short", flags.epochs - 1, 1), ("calm", flags.epochs, 1000)):
        with servers.proxies[place].counting() as counts[name]:
            _train(flags, f"{folder}/{name}", epochs, every)
    with servers.proxies[place].counting() as shortest:
        _train(flags, f"{folder}/shortest", flags.epochs - 1, 1000)
    checkpoint = count.total() - counts["short"].total()
    epoch = counts["calm"].total() - shortest.total()
    return {
        "per epoch without a checkpoint, and so per step": epoch,
        "per checkpoint": checkpoint - epoch,
        "of them removals of an older one, which are free": count["DELETE"]
        - counts["short"]["DELETE"],
        "at the start and the end": shortest.total() - checkpoint,
    }


def _train(
    flags: argparse.Namespace, workdir: str, epochs: int, every: int = 1
) -> dict[str, float]:
    words = [f"--workdir={workdir}", f"--epochs={epochs}", f"--network={flags.network}"]
    words.append(f"--every={every}")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bucket_runs", *words],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    sys.exit(main())

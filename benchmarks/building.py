"""How much memory and time does it take to build a network, with random or given weights?

    python -m benchmarks.building --json benchmarks/results/building.json
    python -m benchmarks.building resnetv2_152x4_bit --rounds 1  # needs 8 GB, and 4 GB of disk

Compares `create_model(name)` and `create_model(name, pretrained=FILE)` with timm's `create_model`
and its `checkpoint_path`; the file is a `.safetensors` of timm's. Each measurement is a fresh
process that compiles everything anew; memory is what its resident memory grows by, at its peak,
from the imports to the end, files that it maps included. `limit` is the size of the parameters and
statistics.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from benchmarks import contest

PROGRAM = """
import resource, sys, time
{setup}
kilobyte = 2**10 if sys.platform == "linux" else 1
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilobyte / 2**20
before, start = peak(), time.perf_counter()
{build}
print(time.perf_counter() - start, peak() - before)
"""
OURS = """
import jax
from flax import nnx
import pydantic, safetensors.numpy
from resnet_jax import create_model
create_model("resnet8")
jax.block_until_ready(jax.numpy.zeros(()) + 1)
"""
TIMM = """
from benchmarks.parity import import_timm
timm = import_timm()
import torch, safetensors.torch
"""
WAYS = {
    "random": {
        "ours": (OURS, "model = create_model({name!r}); jax.block_until_ready(nnx.state(model))"),
        "timm": (TIMM, "model = timm.create_model({name!r})"),
    },
    "from a file": {
        "ours": (
            OURS,
            "model = create_model({name!r}, pretrained={file!r})\n"
            "jax.block_until_ready(nnx.state(model))",
        ),
        "timm": (TIMM, "model = timm.create_model({name!r}, checkpoint_path={file!r})"),
    },
}
WRITE = "safetensors.torch.save_file(timm.create_model({name!r}).state_dict(), {file!r})"


def run(setup: str, build: str, name: str, file: str) -> tuple[float, float]:
    """Returns the seconds and the MiB that a way of building takes in a fresh process."""
    program = PROGRAM.format(setup=setup, build=build.format(name=name, file=file))
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE
    )
    seconds, memory = map(float, output.stdout.split()[-2:])
    return seconds, memory


def measure(name: str, rounds: int, file: str) -> list[contest.Row]:
    """Measures both in turn, with random weights and from a file; returns their rows."""
    run(TIMM, WRITE, name, file)
    size = pathlib.Path(file).stat().st_size / 2**20
    rows = []
    for kind, ways in WAYS.items():
        figures: dict[str, list[tuple[float, float]]] = {who: [] for who in ways}
        for _ in range(rounds):
            for who, (setup, build) in ways.items():
                figures[who].append(run(setup, build, name, file))
        for place, what, limit in ((0, "seconds", None), (1, "memory at its peak, MiB", size)):
            each = {who: [turn[place] for turn in turns] for who, turns in figures.items()}
            title = f"{name}, {kind}, {what}"
            rows.append(contest.row(title, each, limit=limit, goal=None, less_is_better=True))
            contest.show(rows[-1])
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures networks, prints the rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["resnet50", "resnetv2_152x2_bit"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.names:
            rows += measure(name, flags.rounds, str(pathlib.Path(folder, f"{name}.safetensors")))
    if flags.json:
        contest.write(flags.json, rows, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())

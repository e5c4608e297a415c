"""Kills a run again and again, and asks whether it still ends as an undisturbed one.

Command: python benchmarks/soak.py --steps=20000 --every=20
         python benchmarks/soak.py --steps=200 --checkpoint_every=5 --kills=10

It trains the digits recipe twice: once in peace, and once killed with SIGKILL, which no process can
answer. A kill comes `--every` seconds after the start, but not before the run has saved something
new, and then at a random moment of the next `--spread` seconds. After `--kills` of them, or where
that is 0 without a limit, the run goes on to its end. Both last checkpoints have to be equal bit
for bit, and no step may stand twice in `metrics.jsonl`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.logs import read_records
from resnet_jax.training.setup import make_evaluator, make_trainer
from resnet_jax.training.workdir import Workdir

ROOT = pathlib.Path(__file__).resolve().parents[1]
UNFINISHED = ".orbax-checkpoint-tmp"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--checkpoint_every", type=int, default=50)
    parser.add_argument("--every", type=float, default=0.0, help="seconds between kills")
    parser.add_argument("--spread", type=float, default=1.0, help="seconds of chance after that")
    parser.add_argument("--kills", type=int, default=0, help="how many; 0 for as many as fit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    flags, overrides = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        result = soak(flags, overrides, pathlib.Path(folder))
    print(json.dumps(result, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["equal"] and not result["steps_twice"] else 1


def soak(
    flags: argparse.Namespace, overrides: Sequence[str], folder: pathlib.Path
) -> dict[str, Any]:
    """Trains in peace and under fire, and compares."""
    begin = time.perf_counter()
    peaceful, disturbed = Workdir(folder / "peaceful"), Workdir(folder / "disturbed")
    start(flags, overrides, peaceful).wait()
    rng = random.Random(flags.seed)
    kills = saving = 0
    while True:
        process = start(flags, overrides, disturbed)
        if flags.kills and kills >= flags.kills:
            process.wait()
            break
        if not await_moment(process, disturbed, flags, rng):
            break
        saving += any(UNFINISHED in name for name in saved(disturbed))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    steps = [record["step"] for record in read_records(disturbed)]
    return {
        "kills": kills,
        "kills_while_saving": saving,
        "steps": flags.steps,
        "equal": equal(peaceful, disturbed),
        "steps_twice": len(steps) - len(set(steps)),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def start(
    flags: argparse.Namespace, overrides: Sequence[str], files: Workdir
) -> subprocess.Popen[bytes]:
    """Starts, or resumes, a run in a process of its own."""
    words = [
        f"--workdir={files.root}",
        f"--config.steps={flags.steps}",
        f"--config.checkpoint.every_steps={flags.checkpoint_every}",
        "--config.log_every_steps=7",
        *overrides,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "train.py"),
            f"--config={ROOT / 'configs' / 'digits.py'}",
            *words,
        ],
        stdout=subprocess.DEVNULL,
        env=environment,
    )


def await_moment(
    process: subprocess.Popen[bytes],
    files: Workdir,
    flags: argparse.Namespace,
    rng: random.Random,
) -> bool:
    """Waits for the moment of the next kill; False where the run ended before it."""
    before, end = saved(files), time.monotonic() + flags.every
    while time.monotonic() < end or saved(files) == before:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(rng.random() * flags.spread)
    return process.poll() is None


def saved(files: Workdir) -> set[str]:
    """Lists the checkpoints of a run, those that are being written included."""
    if not files.checkpoints.is_dir():
        return set()
    return {path.name for path in files.checkpoints.iterdir() if path.name[0].isdigit()}


def equal(one: Workdir, other: Workdir) -> bool:
    """Compares the last checkpoints of two runs bit for bit."""
    config = one.read_config()
    trainer = make_trainer(config, make_evaluator(config))
    states = []
    for files in (one, other):
        with Checkpoints(files.checkpoints, config.checkpoint) as checkpoints:
            states.append(checkpoints.restore(trainer.like(), step=config.steps).state)
    pairs = zip(*map(jax.tree.leaves, states), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


if __name__ == "__main__":
    sys.exit(main())

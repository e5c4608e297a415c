"""Kills a run again and again, and asks whether it still ends as an undisturbed one.

Command: python -m benchmarks.soak --steps=20000 --every=20
         python -m benchmarks.soak --steps=200 --checkpoint_every=5 --kills=10
         python -m benchmarks.soak --steps=200 --checkpoint_every=5 --kills=10 --bucket=gs

It trains the digits recipe twice: once in peace, and once killed with SIGKILL, which no process can
answer. Of two kills, one comes when the run has begun to save something new, and the other at a
random moment of the first `--spread` seconds, whatever the run does then; `--every` is added to
both. After `--kills` of them, or where that is 0 without a limit, the run goes on to its end. Both
last checkpoints have to be equal bit for bit, and so have the records in `metrics.jsonl`, but for
the speed. With `--bucket`, the folder of the killed run is in a bucket: that of a server on this
machine.
"""

from __future__ import annotations

import argparse
import contextlib
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

from benchmarks.bucket_servers import BucketServers
from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.trainer import make_trainer
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, MetricsRecord, read_records
from resnet_jax.training.workdir.stored import StoredCheckpoints

ROOT = pathlib.Path(__file__).resolve().parents[1]
A_SAVE = 0.1  # seconds, about
POLL = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--checkpoint_every", type=int, default=50)
    parser.add_argument("--every", type=float, default=0.0, help="seconds between kills")
    parser.add_argument("--spread", type=float, default=10.0, help="seconds of chance after that")
    parser.add_argument("--kills", type=int, default=0, help="how many; 0 for as many as fit")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--bucket", choices=("gs", "s3"), help="where the killed run is")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    flags, overrides = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        place: AnyPath = pathlib.Path(folder)
        if flags.bucket:
            running = servers.enter_context(BucketServers())
            os.environ.update(running.environment)
            running.create_bucket(flags.bucket, "bucket")
            place = BucketPath.parse(f"{flags.bucket}://bucket")
        result = soak(flags, overrides, pathlib.Path(folder, "peaceful"), place / "disturbed")
    print(json.dumps(result, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["equal"] and result["records_equal"] else 1


def soak(
    flags: argparse.Namespace, overrides: Sequence[str], calm: pathlib.Path, fired_at: AnyPath
) -> dict[str, Any]:
    """Trains in peace and under fire, and compares."""
    begin = time.perf_counter()
    peaceful, disturbed = Workdir(calm), Workdir(fired_at)
    await_end(start(flags, overrides, peaceful))
    rng = random.Random(flags.seed)
    kills = saving = 0
    while True:
        process = start(flags, overrides, disturbed)
        if flags.kills and kills >= flags.kills:
            break
        if kills % 2:
            time.sleep(flags.every + rng.random() * flags.spread)
        else:
            time.sleep(flags.every)
            await_save(process, disturbed)
            time.sleep(rng.random() * A_SAVE)
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        complete = {str(step) for step in StoredCheckpoints(disturbed.checkpoints).steps()}
        saving += bool(saved(disturbed) - complete)
        kills += 1
    await_end(process)
    return {
        "kills": kills,
        "kills_while_saving": saving,
        "steps": flags.steps,
        "equal": equal(peaceful, disturbed),
        "records_equal": records(peaceful) == records(disturbed),
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


def await_end(process: subprocess.Popen[bytes]) -> None:
    """Waits for a run that nobody kills.

    Raises:
        SystemExit: It failed.
    """
    if process.wait() != 0:
        raise SystemExit(f"error: the run ended with status {process.returncode}")


def await_save(process: subprocess.Popen[bytes], files: Workdir) -> None:
    """Waits until a run begins to save something new, or ends."""
    before = saved(files)
    while saved(files) <= before and process.poll() is None:
        time.sleep(POLL)


def saved(files: Workdir) -> set[str]:
    """Lists the checkpoints of a run, those that are being written included."""
    try:
        return {path.name for path in files.checkpoints.iterdir() if path.name[0].isdigit()}
    except FileNotFoundError:
        return set()


def records(files: Workdir) -> list[MetricsRecord]:
    """Reads the records of a run without what a clock gave."""
    return [
        {name: value for name, value in record.items() if name not in CLOCKED}
        for record in read_records(files)
    ]


def equal(one: Workdir, other: Workdir) -> bool:
    """Compares the last checkpoints of two runs bit for bit."""
    config = one.read_config()
    trainer = make_trainer(make_evaluator(config))
    states = []
    for files in (one, other):
        stored = StoredCheckpoints(files.checkpoints)
        states.append(stored.restore(trainer.like(), step=config.steps).state)
    pairs = zip(*map(jax.tree.leaves, states), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


if __name__ == "__main__":
    sys.exit(main())

"""Runs of `train.py`, each in a process of its own with a fresh folder and nothing compiled."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any

from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that ended well.

    Attributes:
        workdir: Its folder.
        seconds: From the start of the process to its end: imports, data, compilation with an empty
            cache, training, evaluation, checkpoints.
        records: What it wrote down, in order.
    """

    workdir: pathlib.Path
    seconds: float
    records: list[dict[str, Any]]

    def images_per_second(self) -> float:
        """The median of the records; of the first one, in which the step was compiled, if alone."""
        rates = [record["images_per_second"] for record in self.records]
        return statistics.median(rates[1:] or rates)


@contextlib.contextmanager
def trained(*arguments: str) -> Iterator[Run]:
    """Trains, and keeps the folder for as long as the context lasts.

    Args:
        *arguments: Of `train.py`, without `--workdir`.

    Raises:
        SystemExit: It failed; with its status. What it said on its standard error stands there.
    """
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder, "run")
        cache = {"JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(folder, "jax"))}
        begin = time.perf_counter()
        _call(["train.py", f"--workdir={workdir}", *arguments], cache)
        seconds = time.perf_counter() - begin
        yield Run(workdir, seconds, read_records(Workdir(workdir)))


def command(*arguments: str) -> str:
    """Calls `resnet-jax`, and returns what it prints.

    Raises:
        SystemExit: It failed; with its status. What it said on its standard error stands there.
    """
    return _call(["-c", "import resnet_jax.cli; resnet_jax.cli.main()", *arguments], {})


def _call(words: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout

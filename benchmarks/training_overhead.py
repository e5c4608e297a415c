"""What the machinery around the compiled step costs.

    make bench-training
    python -m benchmarks.training_overhead --json benchmarks/results/training_overhead.json

Python overhead: the host's time for one round of the loop with the state of ResNet-50 (SGD with
momentum, averages) and a compiled step that does next to nothing, so that the host is what is
measured; beside it that of the call of the compiled step alone. Compile time: of the real step,
with an empty cache of compiled code. Step rate: the digits recipe through `train`, records and
checkpoints included, against a bare loop over the same batches and the same compiled step. The two
take turns from one record to the next, seconds long, since machines change their speed within a
minute; a figure is that of as many steps as lie between two checkpoints, one of them saved therein.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import pathlib
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks import contest
from resnet_jax.machine.cpu import keep_freed_memory, use_every_core
from resnet_jax.training import loop
from resnet_jax.training.cadence import Cadence
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.progress import ProgressReport
from resnet_jax.training.recipe.config import EmaConfig, ModelConfig, TrainConfig
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.step.metrics import SkipWatch, Totals
from resnet_jax.training.step.optimizers import make_optimizer
from resnet_jax.training.step.state import TrainState, initial_state
from resnet_jax.training.trainer import make_trainer
from resnet_jax.training.workdir.records import MetricsLog

WARM_UP = 20
PYTHON_MS = 2.0  # for a step, at most


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the recipe")
    flags = parser.parse_args(arguments)
    recipe = load_recipe()
    keep_freed_memory()  # as the command `train` does
    use_every_core(recipe.batch_size)
    rows = [
        contest.row(
            "the loop with ResNet-50's state, Python's milliseconds a step",
            {**python_overhead(), "allowed": [PYTHON_MS]},
            limit=None,
            goal=1.0,
            less_is_better=True,
        ),
        contest.row(
            "the step of digits, seconds to trace and compile",
            {"ours": [compile_seconds(recipe)]},
            limit=None,
            goal=None,
            less_is_better=True,
        ),
        contest.row(
            "digits, records and checkpoints included, steps/s",
            step_rates(recipe, rounds=flags.rounds),
            limit=None,
            goal=0.97,
        ),
    ]
    for row in rows:
        contest.show(row)
    if flags.json:
        contest.write(flags.json, rows, {})
    return 0


def python_overhead(rounds: int = 200) -> dict[str, list[float]]:
    """Returns the host's milliseconds for each round of the loop, and for each bare call."""
    config = TrainConfig(
        model=ModelConfig(name="resnet50", num_classes=1000), ema=EmaConfig(), log_every_steps=50
    )
    optimizer = make_optimizer(config.optimizer, lambda _: 0.1)
    shapes = jax.eval_shape(lambda: initial_state(config, optimizer))
    state, other = (
        jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes) for _ in range(2)
    )

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        sums = {name: batch["label"].sum() for name in ("loss", "top1", "count", "steps")}
        return state._replace(step=state.step + 1), sums | {"skipped_in_row": state.skipped_in_row}

    compiled = jax.jit(step, donate_argnums=0)
    batch = jax.device_put({"label": np.zeros(8, np.int32)})
    window, skips = Totals(), SkipWatch(most=20, learning_rate=0.1)
    console = Console(file=io.StringIO())
    whole, call = [], []
    with ProgressReport(console, start=0, total=rounds) as progress:
        for number in range(1, rounds + 1):
            begin = time.perf_counter()
            state, sums = compiled(state, batch)
            skips.add(number, sums.pop("skipped_in_row"), 1)
            window.add(sums, 1)
            progress.advance()
            middle = time.perf_counter()
            other, _ = compiled(other, batch)
            whole.append(1e3 * (middle - begin))
            call.append(1e3 * (time.perf_counter() - middle))
    return {"ours": whole[WARM_UP:], "ours, the compiled call alone": call[WARM_UP:]}


def compile_seconds(config: TrainConfig) -> float:
    """Returns how long the step takes to trace and compile."""
    trainer = make_trainer(make_evaluator(config))
    with trainer.batches() as batches:
        batch = trainer.put(next(batches), 0)
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        begin = time.perf_counter()
        compiled: Any = trainer.train_step
        compiled.lower(trainer.like(), batch).compile()
        return time.perf_counter() - begin
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def step_rates(recipe: TrainConfig, *, rounds: int) -> dict[str, list[float]]:
    """Returns steps a second of both loops, a figure for each run of the recipe."""
    data = dataclasses.replace(recipe.data, validation_split=None, device_resident=False)
    config = dataclasses.replace(recipe, data=data)
    rates: dict[str, list[float]] = {"ours": [], "bare loop": []}
    for _ in range(rounds):
        with _BareLoop(config) as bare, tempfile.TemporaryDirectory() as folder:
            turns = _Turns(bare)
            with unittest.mock.patch("resnet_jax.training.loop.MetricsLog", turns.log):
                loop.train(config, folder, console=Console(file=io.StringIO()))
        for name, rate in turns.rates().items():
            rates[name].append(rate)
    return rates


class _BareLoop:
    """The steps of a run and nothing beside them."""

    def __init__(self, config: TrainConfig) -> None:
        self._trainer = make_trainer(make_evaluator(config))

    @property
    def cadence(self) -> Cadence:
        """When the run records and saves."""
        trainer = self._trainer
        return Cadence(
            trainer.config,
            steps_per_epoch=trainer.steps_per_epoch,
            total_steps=trainer.total_steps,
        )

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        self._batches = self._stack.enter_context(self._trainer.batches())
        self._state, self._step = self._trainer.first_state(), 0
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, steps: int) -> float:
        """Takes steps and returns the seconds of all of them."""
        begin = time.perf_counter()
        for _ in range(steps):
            batch = self._trainer.put(next(self._batches), self._step)
            self._state, _ = self._trainer.train_step(self._state, batch)
            self._step += 1
        jax.block_until_ready(self._state)
        return time.perf_counter() - begin


class _Turns:
    """Lets a bare loop go as far as `train` went whenever that has written a record.

    At a record the device has done all steps so far, so that nothing of one runs in the other's
    turn; but for the end of a save, which begins after a record and takes less than a turn.
    """

    def __init__(self, bare: _BareLoop) -> None:
        self._bare = bare
        self._ends: list[int] = []
        self._seconds: list[tuple[float, float]] = []
        self._begin = time.perf_counter()
        turns = self

        class Log(MetricsLog):
            def write(self, step: int, values: Mapping[str, float | None]) -> None:
                super().write(step, values)
                turns.take(step)

        self.log = Log

    def take(self, step: int) -> None:
        """Notes how long `train` took since the turn before, and has the bare loop do the same."""
        seconds = time.perf_counter() - self._begin
        steps = step - (self._ends[-1] if self._ends else 0)
        self._ends.append(step)
        self._seconds.append((seconds, self._bare.run(steps)))
        self._begin = time.perf_counter()

    def rates(self) -> dict[str, float]:
        """Sums up as many steps as lie between two saves, up to the last turn, which evaluates.

        Raises:
            ValueError: The run is too short to have two checkpoints, or none comes at a record.
        """
        ends = self._ends[:-1]
        saved = [end for end in self._ends if self._bare.cadence.is_due_for_checkpoint(end)]
        if len(saved) < 2:
            raise ValueError(
                f"checkpoints came at the records of the steps {saved}; two are needed"
            )
        first = ends.index(ends[-1] - (saved[-1] - saved[-2]))
        ours, bare = map(sum, zip(*self._seconds[first + 1 : -1], strict=True))
        steps = ends[-1] - ends[first]
        return {"ours": steps / ours, "bare loop": steps / bare}


if __name__ == "__main__":
    sys.exit(main())

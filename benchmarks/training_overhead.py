"""What the machinery around the compiled step costs.

    make bench-training
    python -m benchmarks.training_overhead --json benchmarks/results/training_overhead.json

Python overhead: the host's time for one round of the loop with the state of ResNet-50 (SGD with
momentum, averages) and a compiled step that does next to nothing, so that the host is what is
measured. Compile time: of the real step, with an empty cache of compiled code. Step rate: the
digits recipe through `train`, records and checkpoints included, against a bare loop over the same
batches and the same compiled step; both alternate, so that other load on the machine meets both.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import pathlib
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from benchmarks import contest
from resnet_jax.training import loop
from resnet_jax.training.config import EmaConfig, ModelConfig, TrainConfig
from resnet_jax.training.metrics import Totals
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.progress import ProgressReport
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.runtime import keep_freed_memory, use_every_core
from resnet_jax.training.setup import make_evaluator, make_trainer
from resnet_jax.training.skips import SkipWatch
from resnet_jax.training.state import TrainState, initial_state

WARM_UP = 20
PYTHON_MS = 2.0  # for a step, at most


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    parser.add_argument("--steps", type=int, default=300, help="steps of a measured run")
    parser.add_argument("--rounds", type=int, default=3, help="how often both alternate")
    flags = parser.parse_args(arguments)
    recipe = load_recipe()
    keep_freed_memory()  # as the command `train` does
    use_every_core(recipe.batch_size)
    rows = [
        contest.row(
            "the loop with ResNet-50's state, Python's milliseconds a step",
            {"ours": python_overhead(), "allowed": [PYTHON_MS]},
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
            step_rates(recipe, steps=flags.steps, rounds=flags.rounds),
            limit=None,
            goal=0.97,
        ),
    ]
    for row in rows:
        contest.show(row)
    if flags.json:
        contest.write(flags.json, rows, {})
    return 0


def python_overhead(rounds: int = 200) -> list[float]:
    """Returns the host's milliseconds for each round of the loop."""
    config = TrainConfig(
        model=ModelConfig(name="resnet50", num_classes=1000), ema=EmaConfig(), log_every_steps=50
    )
    optimizer = make_optimizer(config.optimizer, lambda _: 0.1)
    shapes = jax.eval_shape(lambda: initial_state(config, optimizer))
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        sums = {name: batch["label"].sum() for name in ("loss", "top1", "count", "steps")}
        return state._replace(step=state.step + 1), sums | {"skipped_in_row": state.skipped_in_row}

    compiled = jax.jit(step, donate_argnums=0)
    batch = jax.device_put({"label": np.zeros(8, np.int32)})
    window, skips = Totals(), SkipWatch(most=20, learning_rate=0.1)
    console = Console(file=io.StringIO())
    times = []
    with ProgressReport(console, start=0, total=rounds) as progress:
        for number in range(1, rounds + 1):
            begin = time.perf_counter()
            state, sums = compiled(state, batch)
            skips.add(number, sums.pop("skipped_in_row"), 1)
            window.add(sums, 1)
            progress.advance()
            times.append(1e3 * (time.perf_counter() - begin))
    return times[WARM_UP:]


def compile_seconds(config: TrainConfig) -> float:
    """Returns how long the step takes to trace and compile."""
    trainer = make_trainer(config, make_evaluator(config))
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


def step_rates(recipe: TrainConfig, *, steps: int, rounds: int) -> dict[str, list[float]]:
    """Returns steps a second of both loops, a figure a round."""
    data = dataclasses.replace(recipe.data, validation_split=None, device_resident=False)
    config = dataclasses.replace(recipe, steps=steps, data=data)
    rates: dict[str, list[float]] = {"ours": [], "bare loop": []}
    for _ in range(rounds):
        rates["bare loop"].append(_bare(config))
        rates["ours"].append(_full(config))
    return rates


def _bare(config: TrainConfig) -> float:
    trainer = make_trainer(config, make_evaluator(config))
    state, begin = trainer.first_state(), 0.0
    assert config.steps is not None
    with trainer.batches() as batches:
        for step in range(config.steps):
            if step == WARM_UP:
                jax.block_until_ready(state)
                begin = time.perf_counter()
            state, _ = trainer.train_step(state, trainer.put(next(batches), step))
    jax.block_until_ready(state)
    return (config.steps - WARM_UP) / (time.perf_counter() - begin)


def _full(config: TrainConfig) -> float:
    """Times `train` from one call of the progress bar to another, before the last evaluation."""
    stamps: list[float] = []

    class Timed(ProgressReport):
        def advance(self) -> None:
            super().advance()
            stamps.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as folder,
        unittest.mock.patch("resnet_jax.training.loop.ProgressReport", Timed),
    ):
        loop.train(config, folder, console=Console(file=io.StringIO()))
    return (len(stamps) - WARM_UP) / (stamps[-1] - stamps[WARM_UP - 1])


if __name__ == "__main__":
    sys.exit(main())

"""What the machinery around the compiled step costs.

Command: make bench-training
         python benchmarks/training_overhead.py --json training_overhead.json

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
import json
import pathlib
import statistics
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

from resnet_jax.training import loop
from resnet_jax.training.config import EmaConfig, ModelConfig, TrainConfig
from resnet_jax.training.metrics import Totals
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.progress import ProgressReport
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.setup import make_evaluator, make_trainer
from resnet_jax.training.skips import SkipWatch
from resnet_jax.training.state import TrainState, initial_state

WARM_UP = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints a table and writes JSON where asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=pathlib.Path, help="where to write the figures")
    parser.add_argument("--steps", type=int, default=300, help="steps of a measured run")
    parser.add_argument("--rounds", type=int, default=3, help="how often both alternate")
    flags = parser.parse_args(arguments)
    recipe = load_recipe()
    figures = {
        "python_ms_per_step": python_overhead(),
        "compile_seconds_digits": compile_seconds(recipe),
        **step_rates(recipe, steps=flags.steps, rounds=flags.rounds),
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    for name, value in figures.items():
        print(f"{name:28} {value:.4g}" if isinstance(value, float) else f"{name:28} {value}")
    if flags.json:
        flags.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def python_overhead(rounds: int = 200) -> float:
    """Returns the median of the host's milliseconds for one round of the loop."""
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
            times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times[WARM_UP:])


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


def step_rates(recipe: TrainConfig, *, steps: int, rounds: int) -> dict[str, float]:
    """Returns steps a second of both loops, and what the full one loses."""
    data = dataclasses.replace(recipe.data, validation_split=None, device_resident=False)
    config = dataclasses.replace(recipe, steps=steps, data=data)
    runs: dict[str, list[float]] = {"bare": [], "full": []}
    for _ in range(rounds):
        runs["bare"].append(_bare(config))
        runs["full"].append(_full(config))
    bare, full = (statistics.median(runs[name]) for name in ("bare", "full"))
    ratios = [f / b for f, b in zip(runs["full"], runs["bare"], strict=True)]
    return {
        "bare_steps_per_second": bare,
        "full_steps_per_second": full,
        "lost_percent": 100 * (1 - statistics.median(ratios)),
    }


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

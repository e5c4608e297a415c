"""Can float32 training here be told from PyTorch's? The loss after 500 steps, over five seeds.

    python -m benchmarks.training_two_sample --data ../shared/data/cifar10_jpeg.zip --json OUT.json
    python -m benchmarks.training_two_sample --data ../shared/data/cifar10_jpeg.zip \
        --seeds 2 --steps 20

In float32 two runs from the same weights drift apart within some ten steps, PyTorch's from itself
as well, so samples of runs are compared and not runs. For each seed both sides begin with the same
weights of `resnet20` and see the same batches in the same order (128 images as they are, SGD at
0.1, momentum 0.9, L2 1e-4). The figure of a run is the mean loss of the last tenth of its steps.

The test is the exact permutation test of the difference of the means, two-sided: it goes through
every split of the pooled figures into two samples (252 for five seeds, so that no p is below 0.008)
and assumes nothing about their distribution. Where seeds are few it finds large differences alone:
at the 5% level five seeds a side find a shift of two standard deviations of a sample nearly four
times in five, and one standard deviation once in four. The shift of the first kind is printed.
Beside it stands the 95% interval of the difference, by Student's t over the differences within
a seed, which are free of what a seed does to both sides: how far apart the means may be.

It needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from scipy import stats

from benchmarks import contest
from benchmarks.torch_networks import build
from resnet_jax.data.config import DataConfig
from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.pipeline import train_loader
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.machine.cpu import keep_freed_memory
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.step.state import start_from, variables_of
from resnet_jax.training.trainer import Trainer, make_trainer
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import model_config

NETWORK = "resnet20"


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains both sides, prints the figures of each seed and what they say together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True, help="zip archive of CIFAR-10")
    parser.add_argument("--seeds", type=int, default=5, help="runs a side, 2 or more")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    flags = parser.parse_args(arguments)
    if flags.seeds < 2 or flags.steps < 1:
        parser.error(f"--seeds={flags.seeds} --steps={flags.steps}: give 2 or more and 1 or more")
    if flags.json and not flags.json.parent.is_dir():
        parser.error(f"--json={flags.json}: {flags.json.parent} is no folder; make it first")
    keep_freed_memory()
    try:
        trainer = build_trainer(flags.data)
    except ConfigError as error:
        parser.error(str(error))
    ours, theirs = [], []
    for seed in range(flags.seeds):
        torch.manual_seed(seed)
        network = build(NETWORK, classes=10)
        ours.append(figure(train_here(trainer, network, batches(trainer, seed, flags.steps))))
        theirs.append(figure(train_there(trainer, network, batches(trainer, seed, flags.steps))))
        print(f"seed {seed}: here {ours[-1]:.4f}  PyTorch {theirs[-1]:.4f}", flush=True)
    result = compare(ours, theirs)
    show(result)
    if flags.json:
        content = {"machine": contest.machine(), "command": contest.command(), "steps": flags.steps}
        content |= {"here": ours, "pytorch": theirs, **result}
        flags.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


def build_trainer(archive: pathlib.Path) -> Trainer:
    """Builds what `train` runs, without random changes to the images."""
    config = TrainConfig(
        batch_size=128,
        model=ModelConfig(name=NETWORK),
        data=DataConfig(name=f"zip:{archive}", validation_split=None),
        optimizer=OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=ScheduleConfig(name="constant"),
    )
    return make_trainer(make_evaluator(config))


def batches(trainer: Trainer, seed: int, steps: int) -> Iterator[Batch]:
    """Yields the first batches of a seed."""
    size = trainer.config.batch_size
    with train_loader(trainer.source, batch_size=size, seed=seed) as loader:
        for _ in range(steps):
            yield next(loader)


def train_here(trainer: Trainer, network: torch.nn.Module, stream: Iterator[Batch]) -> list[float]:
    """Trains our network from the weights of PyTorch's; returns the losses."""
    model = skeleton(model_config(NETWORK, num_classes=10))
    load_torch(model, network.state_dict())
    state = start_from(trainer.first_state(), variables_of(model))
    losses = []
    for step, batch in enumerate(stream):
        state, sums = trainer.train_step(state, trainer.put(batch, step))
        losses.append(float(sums["loss"] / sums["count"]))
    return losses


def train_there(trainer: Trainer, network: torch.nn.Module, stream: Iterator[Batch]) -> list[float]:
    """Trains PyTorch's network by the same recipe; returns the losses."""
    data, rule = trainer.config.data, trainer.config.optimizer
    sgd = torch.optim.SGD(
        network.parameters(),
        lr=rule.learning_rate,
        momentum=rule.momentum,
        weight_decay=rule.weight_decay,
    )
    losses = []
    for batch in stream:
        images = torch.tensor(
            np.asarray(normalize(jnp.asarray(batch["image"]), data.mean, data.std))
        )
        sgd.zero_grad()
        logits = network(images.permute(0, 3, 1, 2))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch["label"]).long())
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


def figure(losses: Sequence[float]) -> float:
    """Returns the mean of the last tenth."""
    return float(np.mean(losses[-max(len(losses) // 10, 1) :]))


def compare(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Compares the means of two samples with one figure a seed each.

    Args:
        ours: Losses, in the order of the seeds.
        theirs: As many.

    Returns:
        `difference` of the means, ours minus theirs; `p` of the permutation test; `detectable`, the
        difference that it finds nearly four times in five at the 5% level; and `interval`, the 95%
        interval of the difference.
    """
    test = stats.permutation_test(
        (ours, theirs), lambda x, y, axis: x.mean(axis) - y.mean(axis), n_resamples=math.inf
    )
    count = len(ours)
    # The power of the t test; that of the permutation test is a few hundredths below.
    freedom = 2 * (count - 1)
    shift = (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom)) * math.sqrt(2 / count)
    deviation = math.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / 2)
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    return {
        "difference": float(test.statistic),
        "p": float(test.pvalue),
        "detectable": float(shift * deviation),
        "interval": [float(interval.low), float(interval.high)],
    }


def show(result: dict[str, Any]) -> None:
    """Prints a comparison."""
    low, high = result["interval"]
    verdict = "can" if result["p"] <= 0.05 else "cannot"
    print(
        f"the means differ by {result['difference']:+.4f}, 95% interval {low:+.4f} to {high:+.4f}\n"
        f"permutation test: p = {result['p']:.3f}, so that the samples {verdict} be told apart; "
        f"it finds a difference of {result['detectable']:.4f} nearly four times in five"
    )


if __name__ == "__main__":
    sys.exit(main())

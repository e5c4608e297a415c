"""Whether float32 training here can be told from PyTorch's: the loss after 500 steps, over seeds.

Command: python benchmarks/training_two_sample.py --data ../shared/data/cifar10_jpeg.zip
         python benchmarks/training_two_sample.py --data ... --seeds 2 --steps 20

In float32 two runs from the same weights drift apart within some ten steps, PyTorch's from itself
as well, so single runs cannot be compared. For each seed both sides begin with the same weights of
`resnet20`, see the same batches (128, SGD 0.1, momentum 0.9, L2 1e-4) and report the mean loss of
the last tenth of the steps. The two samples are compared by a permutation test on the difference of
their means. It needs PyTorch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from numpy.typing import NDArray

from resnet_jax import create_model
from resnet_jax.data.augment import normalize
from resnet_jax.data.config import DataConfig
from resnet_jax.data.order import step_indices
from resnet_jax.data.sources import load_split
from resnet_jax.training.config import OptimizerConfig, TrainConfig
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.state import Graphs, TrainState
from resnet_jax.training.steps import make_train_step
from resnet_jax.weights import load_torch

BATCH = 128
RATE, MOMENTUM, DECAY = 0.1, 0.9, 1e-4
Batch = dict[str, NDArray[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains both sides and prints the two samples with the probability of their difference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True, help="zip archive of CIFAR-10")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=pathlib.Path, help="where to write the result")
    flags = parser.parse_args(arguments)
    source = load_split(DataConfig(name=f"zip:{flags.data}"), "train")
    ours, theirs = [], []
    for seed in range(flags.seeds):
        torch.manual_seed(seed)
        network = Network()
        mine = train_here(network, batches(source, seed, flags.steps))
        other = train_there(network, batches(source, seed, flags.steps))
        tail = max(flags.steps // 10, 1)
        ours.append(float(np.mean(mine[-tail:])))
        theirs.append(float(np.mean(other[-tail:])))
        print(f"seed {seed}: here {ours[-1]:.4f}  PyTorch {theirs[-1]:.4f}", flush=True)
    result = {"here": ours, "pytorch": theirs, "steps": flags.steps, "p": permutation(ours, theirs)}
    print(f"p = {result['p']:.3f} that the means differ by chance as much as this")
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


def batches(source: Any, seed: int, steps: int) -> Iterator[Batch]:
    """Yields the batches of a seed, without random changes."""
    for step in range(steps):
        rows = step_indices(len(source), BATCH, seed=seed, step=step)
        examples = [source[int(row)] for row in rows]
        yield {
            "image": np.stack([example["image"] for example in examples]),
            "label": np.array([example["label"] for example in examples], np.int32),
        }


def train_here(network: torch.nn.Module, stream: Iterator[Batch]) -> list[float]:
    """Trains our network from the weights of PyTorch's; returns the losses."""
    model = create_model("resnet20", num_classes=10)
    load_torch(model, network.state_dict())
    rule = OptimizerConfig(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    optimizer = make_optimizer(rule, optax.constant_schedule(RATE))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    zero = jnp.zeros((), jnp.int32)
    stats = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
    state = TrainState(zero, zero, zero, params, stats, optimizer.init(params), None)
    graphs = Graphs(train=nnx.graphdef(model), evaluate=nnx.graphdef(model))
    step = jax.jit(make_train_step(graphs, optimizer, TrainConfig(optimizer=rule)))
    losses = []
    for batch in stream:
        state, sums = step(state, batch)
        losses.append(float(sums["loss"]) / BATCH)
    return losses


def train_there(network: torch.nn.Module, stream: Iterator[Batch]) -> list[float]:
    """Trains PyTorch's network; returns the losses."""
    config = DataConfig()
    sgd = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    losses = []
    for batch in stream:
        pixels = jnp.asarray(batch["image"], jnp.float32)
        images = torch.tensor(np.asarray(normalize(pixels, config.mean, config.std)))
        sgd.zero_grad()
        logits = network(images.permute(0, 3, 1, 2))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(batch["label"]).long())
        loss.backward()
        sgd.step()
        losses.append(loss.item())
    return losses


def permutation(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns how often a random split of both samples differs in the mean at least as much."""
    pool = np.array([*one, *other])
    seen = abs(np.mean(one) - np.mean(other))
    chosen = list(itertools.combinations(range(len(pool)), len(one)))
    differences = [
        abs(pool[list(rows)].mean() - np.delete(pool, list(rows)).mean()) for rows in chosen
    ]
    return float(np.mean([difference >= seen - 1e-12 for difference in differences]))


class Block(torch.nn.Module):
    """A basic block with option A, named as akamaster's."""

    def __init__(self, in_planes: int, planes: int) -> None:
        super().__init__()
        self.stride, self.pad = planes // in_planes, (planes - in_planes) // 2
        self.conv1 = torch.nn.Conv2d(in_planes, planes, 3, self.stride, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(planes)
        self.conv2 = torch.nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(planes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Adds the branch to its input."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        short = x[:, :, :: self.stride, :: self.stride]
        padded = torch.nn.functional.pad(short, (0, 0, 0, 0, self.pad, self.pad))
        return torch.relu(y + padded)


class Network(torch.nn.Module):
    """The 20 layers for CIFAR."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(16)
        self.layer1 = torch.nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.layer2 = torch.nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = torch.nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classifies images [batch, 3, 32, 32]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: torch.Tensor = self.linear(x.mean((2, 3)))
        return logits


if __name__ == "__main__":
    sys.exit(main())

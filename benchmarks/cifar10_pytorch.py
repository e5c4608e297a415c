"""What does PyTorch reach with a recipe for CIFAR-10? ResNet-20, the same files and batch order.

    python -m benchmarks.cifar10_pytorch --config=configs/cifar10_he2015.py:resnet20 \
        --workdir=runs/he_torch --config.data.name=zip:cifar10.zip
    python -m benchmarks.cifar10_pytorch --config=configs/cifar10_fast.py:24 \
        --workdir=runs/fast_torch --config.data.name=zip:cifar10.zip \
        --config.model.name=resnet20 --config.model.dtype=float32

Takes a recipe and its overrides as `train.py` does, and trains with PyTorch's own layers, SGD and
random changes. The images, their order, the learning rate of each step and the settings are those
of our run with the same seed; initial weights and random changes have the same distribution.

The same command resumes an interrupted run after its last whole epoch. The folder holds
`config.json`, `metrics.jsonl` with a record an epoch (the last one has the test accuracy, and the
seconds of all epochs) and the state. It needs PyTorch.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.torch_images import change, normalized, to_torch
from benchmarks.torch_networks import build
from resnet_jax.data.loading.order import step_indices, steps_per_epoch
from resnet_jax.data.sources import load_split
from resnet_jax.errors import ConfigError
from resnet_jax.plain_json import json_text
from resnet_jax.training.checks import fit_to_data
from resnet_jax.training.recipe.config import OptimizerConfig, TrainConfig
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import differing_fields, parse_overrides, to_json
from resnet_jax.training.step.schedules import make_schedule
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.whole_files import replacing, write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains or resumes, and prints a line an epoch and the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", required=True, metavar="RECIPE")
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    flags, overrides = parser.parse_known_args(arguments)
    try:
        config = parse_overrides(load_recipe(flags.config), overrides)
        check(config)
        training = Training(config)
        belong(Workdir(flags.workdir), training.config)
    except ConfigError as error:
        parser.error(str(error))
    training.run(flags.workdir)
    return 0


def belong(files: Workdir, config: TrainConfig) -> None:
    """Checks that a folder is new or belongs to this run, and records the recipe.

    Raises:
        ConfigError: It belongs to another run.
    """
    if files.config.is_file() and (differing := differing_fields(files.read_config(), config)):
        raise ConfigError(f"{files.root} holds a run with another recipe: {', '.join(differing)}")
    files.root.mkdir(parents=True, exist_ok=True)
    write_text(files.config, to_json(config))


def check(config: TrainConfig) -> None:
    """Checks that a recipe has only settings that are followed here.

    Raises:
        ConfigError: It has another one.
    """
    usual = TrainConfig()
    followed: dict[str, tuple[str, ...]] = {
        "model": ("num_classes",),
        "augment": ("pad_crop", "flip", "erase"),
        "loss": ("label_smoothing",),
        "optimizer": ("learning_rate", "momentum", "nesterov", "weight_decay"),
    }
    parts: dict[str, Any] = {
        name: dataclasses.replace(
            getattr(usual, name),
            **{field: getattr(getattr(config, name), field) for field in fields},
        )
        for name, fields in followed.items()
    }
    unfollowed = ("accumulation", "finetune", "resize")
    parts |= {name: getattr(usual, name) for name in unfollowed}
    parts["data"] = dataclasses.replace(
        config.data, repeats=1, straddle_epochs=False, image_size=None
    )
    parts["ema"] = config.ema and dataclasses.replace(config.ema, every=1)
    taken = dataclasses.replace(config, **parts)
    if config.optimizer.decay_on == "matrices":
        matrices = dataclasses.replace(taken.optimizer, decay_on="matrices")
        taken = dataclasses.replace(taken, optimizer=matrices)
    differing = differing_fields(config, taken)
    if differing:
        raise ConfigError(
            f"PyTorch's side does not follow {', '.join(differing)}; set back what is named"
        )


class Training:
    """A run of PyTorch.

    Args:
        config: A recipe that `check` has accepted.
    """

    def __init__(self, config: TrainConfig) -> None:
        torch.manual_seed(config.seed)
        data = dataclasses.replace(config.data, in_memory=True)
        self.train = load_split(data, data.train_split).in_memory()
        self.config = config = fit_to_data(config, self.train)
        self.test = load_split(data, data.test_split).in_memory()
        self.per_epoch = steps_per_epoch(len(self.train), config.batch_size)
        self.total = config.steps or config.epochs * self.per_epoch
        self.schedule = jax.jit(
            make_schedule(
                config.schedule,
                learning_rate=config.optimizer.learning_rate,
                total_steps=self.total,
                steps_per_epoch=self.per_epoch,
            )
        )
        network = build("resnet20", classes=config.model.sizes()[0])
        self.start_from(network.to(memory_format=torch.channels_last))

    def start_from(self, network: nn.Module) -> None:
        """Begins with the weights of a network."""
        self.step = 0
        self.network = network
        self.average = copy.deepcopy(network) if self.config.ema else None
        self.sgd = make_sgd(network, self.config.optimizer)

    def run(self, folder: pathlib.Path) -> list[dict[str, Any]]:
        """Trains to the end, saves every epoch, and returns the records."""
        records = self._restore(folder / "state.pt")
        while self.step < self.total:
            records.append(self._epoch(records[-1]["seconds"] if records else 0.0))
            if self.step == self.total:
                records[-1] |= self.evaluate()
            self._save(folder, records)
            print("  ".join(f"{name} {value:.6g}" for name, value in records[-1].items()))
        return records

    def update(self, images: NDArray[np.uint8], labels: NDArray[np.integer]) -> tuple[float, int]:
        """Makes one step; returns the loss and the number of images classified correctly.

        Args:
            images: uint8 [batch, height, width, channels].
            labels: [batch].
        """
        config, target = self.config, torch.from_numpy(labels).long()
        for group in self.sgd.param_groups:
            group["lr"] = float(self.schedule(self.step))
        changed = change(to_torch(images), config.augment, config.data)
        self.network.train()
        self.sgd.zero_grad()
        logits = self.network(changed.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits, target, label_smoothing=config.loss.label_smoothing)
        loss.backward()
        self.sgd.step()
        self.step += 1
        self._move_average()
        return loss.item(), int((logits.argmax(dim=1) == target).sum())

    def evaluate(self) -> dict[str, float]:
        """Evaluates the network, or its average, on the test split."""
        network = (self.average or self.network).eval()
        loss = right = 0.0
        size = self.config.eval_batch_size
        for start in range(0, len(self.test), size):
            images = to_torch(self.test.images[start : start + size])
            target = torch.from_numpy(self.test.labels[start : start + size]).long()
            with torch.no_grad():
                logits = network(normalized(images, self.config.data))
            loss += cross_entropy(logits, target, reduction="sum").item()
            right += int((logits.argmax(dim=1) == target).sum())
        count = len(self.test)
        return {"test_loss": loss / count, "test_accuracy": right / count, "test_count": count}

    def _epoch(self, seconds: float) -> dict[str, Any]:
        begin, loss, right = time.perf_counter(), 0.0, 0
        steps = min(self.per_epoch - self.step % self.per_epoch, self.total - self.step)
        for _ in range(steps):
            rows = step_indices(
                len(self.train), self.config.batch_size, seed=self.config.seed, step=self.step
            )
            found = self.update(self.train.images[rows], self.train.labels[rows])
            loss, right = loss + found[0], right + found[1]
        taken = time.perf_counter() - begin
        return {
            "step": self.step,
            "epoch": self.step / self.per_epoch,
            "train_loss": loss / steps,
            "train_accuracy": right / (steps * self.config.batch_size),
            "images_per_second": steps * self.config.batch_size / taken,
            "seconds": seconds + taken,
        }

    def _move_average(self) -> None:
        if self.average is None or self.config.ema is None:
            return
        decay = min(self.config.ema.decay, (1 + self.step) / (10 + self.step))
        live = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.mul_(decay).add_(live[name], alpha=1 - decay)

    def _save(self, folder: pathlib.Path, records: list[dict[str, Any]]) -> None:
        parts = {"network": self.network, "average": self.average, "sgd": self.sgd}
        state = {name: part.state_dict() for name, part in parts.items() if part is not None}
        state |= {"step": self.step, "random": torch.get_rng_state(), "records": records}
        with replacing(folder / "state.pt") as unfinished:
            torch.save(state, unfinished)
        lines = "".join(json_text(record) + "\n" for record in records)
        write_text(folder / "metrics.jsonl", lines)

    def _restore(self, path: pathlib.Path) -> list[dict[str, Any]]:
        if not path.is_file():
            return []
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.sgd.load_state_dict(state["sgd"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["random"])
        self.step = state["step"]
        return list(state["records"])


def make_sgd(network: nn.Module, rule: OptimizerConfig) -> torch.optim.SGD:
    """Makes PyTorch's SGD, with decay on all parameters or on matrices only."""
    groups: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in network.parameters():
        groups[rule.decay_on == "all" or parameter.ndim > 1].append(parameter)
    return torch.optim.SGD(
        [
            {"params": groups[True], "weight_decay": rule.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=rule.learning_rate,
        momentum=rule.momentum,
        nesterov=rule.nesterov,
    )


if __name__ == "__main__":
    sys.exit(main())

"""Does a set on the device train as the stream of the same set does, and how fast?

    python -m benchmarks.device_resident ../shared/data/cifar10_jpeg.zip --json OUT.json

Prepares the archive, then trains the same run twice from the beginning: batches from the host, and
the set on the device. Prints both losses at each record, their largest difference, and images/s.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import contest
from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records

NAME = "benchmark_set"


def make_config(data_dir: Path, options: argparse.Namespace) -> TrainConfig:
    """Makes the run: the recipe of 2015 for CIFAR, over a few epochs."""
    return TrainConfig(
        epochs=options.epochs,
        steps=options.steps,
        batch_size=128,
        eval_batch_size=500,
        model=ModelConfig(name=options.model),
        data=DataConfig(
            name=NAME,
            data_dir=str(data_dir),
            validation_split=None,
            test_split=options.test_split,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        augment=AugmentConfig(pad_crop=4, flip=0.5),
        optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=1e-4),
        schedule=ScheduleConfig(name="step"),
        log_every_steps=10,
    )


def run(config: TrainConfig, workdir: Path, *, resident: bool) -> list[dict[str, Any]]:
    """Trains, and gives the records."""
    data = dataclasses.replace(config.data, device_resident=resident)
    train(dataclasses.replace(config, data=data), workdir)
    return [dict(record) for record in read_records(Workdir(workdir))]


def compare(streamed: list[dict[str, Any]], resident: list[dict[str, Any]]) -> list[contest.Row]:
    """Prints both losses, and sums up."""
    print(f"{'step':>6} {'streamed':>12} {'resident':>12} {'difference':>12}")
    worst = 0.0
    for one, other in zip(streamed, resident, strict=True):
        difference = abs(one["train_loss"] - other["train_loss"])
        worst = max(worst, difference)
        losses = f"{one['train_loss']:12.6f} {other['train_loss']:12.6f} {difference:12.2e}"
        print(f"{one['step']:6} {losses}")
    print(f"largest difference of the training loss: {worst:.2e}")
    runs = {"ours": resident, "streamed": streamed}
    rates = {
        who: [record["images_per_second"] for record in records] for who, records in runs.items()
    }
    tests = {who: [100 * records[-1]["test_accuracy"]] for who, records in runs.items()}
    return [
        contest.row("a set on the device, images/s", rates, limit=None, goal=1.0),
        contest.row("a set on the device, test accuracy, %", tests, limit=None, goal=None),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares, trains twice, compares, and writes the rows where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("archive", type=Path, help="zip file of a set of small images of one size")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="in place of epochs")
    parser.add_argument("--test-split", default="test", help="test[:10%%] takes less time")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(f"zip:{options.archive}", name=NAME, data_dir=place)
        config = make_config(place, options)
        streamed = run(config, place / "streamed", resident=False)
        resident = run(config, place / "resident", resident=True)
    rows = compare(streamed, resident)
    for row in rows:
        contest.show(row)
    if options.json:
        contest.write(options.json, rows, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())

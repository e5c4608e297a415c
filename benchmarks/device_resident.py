"""Does a set on the device train as the stream of the same set does, and how fast?

    python benchmarks/device_resident.py ../shared/data/cifar10_jpeg.zip --json device_resident.json

Prepares the archive, then trains the same run twice from the beginning: batches from the host, and
the set on the device. Prints both losses at each record, their largest difference, and images/s.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import jax

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.prepare import prepare
from resnet_jax.training.config import ModelConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from resnet_jax.training.logs import read_records
from resnet_jax.training.loop import train
from resnet_jax.training.workdir import Workdir

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


def compare(streamed: list[dict[str, Any]], resident: list[dict[str, Any]]) -> dict[str, Any]:
    """Prints both losses, and sums up."""
    print(f"{'step':>6} {'streamed':>12} {'resident':>12} {'difference':>12}")
    worst = 0.0
    for one, other in zip(streamed, resident, strict=True):
        difference = abs(one["train_loss"] - other["train_loss"])
        worst = max(worst, difference)
        losses = f"{one['train_loss']:12.6f} {other['train_loss']:12.6f} {difference:12.2e}"
        print(f"{one['step']:6} {losses}")
    rates = {
        name: sorted(record["images_per_second"] for record in records)[len(records) // 2]
        for name, records in (("streamed", streamed), ("resident", resident))
    }
    print(f"largest difference of the training loss: {worst:.2e}")
    print(", ".join(f"{name} {rate:,.0f} images/s" for name, rate in rates.items()))
    tests = [records[-1]["test_accuracy"] for records in (streamed, resident)]
    print(f"test accuracy: streamed {tests[0]:.2%}, resident {tests[1]:.2%}")
    return {"largest_difference": worst, "images_per_second": rates, "test_accuracy": tests}


def main() -> None:
    """Prepares, trains twice and compares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="zip file of a set of small images of one size")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="in place of epochs")
    parser.add_argument("--test-split", default="test", help="test[:10%%] takes less time")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(f"zip:{options.archive}", name=NAME, data_dir=place)
        config = make_config(place, options)
        streamed = run(config, place / "streamed", resident=False)
        resident = run(config, place / "resident", resident=True)
    result = compare(streamed, resident)
    if options.json:
        device = jax.devices()[0]
        about = {"device": device.device_kind, "platform": device.platform, **vars(options)}
        content = {"run": {name: str(value) for name, value in about.items()}, **result}
        options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()

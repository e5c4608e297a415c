"""What the tests of many devices start as a process of its own: a few steps of the digits recipe.

Usage: device_run.py train WORKDIR [--config.FIELD=VALUE ...]
       device_run.py count [--config.FIELD=VALUE ...]

Where PROCESSES, NUMBER and PORT are set it is one of several processes.
"""

import json
import os
import pathlib
import re
import sys

import jax
import numpy as np

from resnet_jax.training.mesh import put_batch
from resnet_jax.training.processes import Processes, join
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.validation import parse_overrides

ROOT = pathlib.Path(__file__).resolve().parents[2]
BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "s64": 8, "f64": 8, "u64": 8}
COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


def read_config(words):
    few = [
        "--config.steps=10",
        "--config.data.validation_split=none",
        "--config.schedule.warmup_epochs=0.5",
    ]
    return parse_overrides(load_recipe(str(ROOT / "configs" / "digits.py")), [*few, *words])


def train(workdir, *words):
    from rich.console import Console

    from resnet_jax.training.interruption import RESUME_STATUS
    from resnet_jax.training.loop import train

    result = train(read_config(words), workdir, console=Console(file=sys.stderr, width=200))
    say({"status": result.status, "step": result.step, "devices": jax.device_count()})
    sys.exit(RESUME_STATUS if result.status == "interrupted" else 0)


def count(*words):
    """Prints the bytes of each kind of collective in the compiled step, and of what it carries."""
    from resnet_jax.training.setup import make_evaluator, make_trainer

    config = read_config(words)
    trainer = make_trainer(config, make_evaluator(config))
    image = np.zeros((config.batch_size, 8, 8, 1), np.uint8)
    label = np.zeros(config.batch_size, np.int32)
    batch = put_batch({"image": image, "label": label, "mask": label == 0}, trainer.mesh)
    state = trainer.like()
    text = trainer.train_step.lower(state, batch).compile().as_text()
    found = {}
    for shapes, kind in COLLECTIVE.findall(text):
        sizes = [
            BYTES[dtype] * int(np.prod([int(n) for n in shape.split(",") if n] or [1]))
            for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        ]
        found[kind] = found.get(kind, 0) + sum(sizes)
    params, stats = (
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (state.params, state.batch_stats)
    )
    say({"collectives": found, "params": params, "stats": stats})


def say(values):
    sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    if "PROCESSES" in os.environ:
        address = f"localhost:{os.environ['PORT']}"
        join(
            Processes(address, int(os.environ["PROCESSES"]), int(os.environ["NUMBER"]), timeout=120)
        )
    {"train": train, "count": count}[sys.argv[1]](*sys.argv[2:])

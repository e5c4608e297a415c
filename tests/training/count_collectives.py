"""Counts the bytes of each kind of collective in the compiled step of the digits recipe.

Usage: count_collectives.py [--config.FIELD=VALUE ...]
"""

import json
import pathlib
import re
import sys

import jax
import numpy as np

from resnet_jax.training.mesh import put_batch
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.setup import make_evaluator, make_trainer
from resnet_jax.training.validation import parse_overrides

ROOT = pathlib.Path(__file__).resolve().parents[2]
BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "s64": 8, "f64": 8, "u64": 8}
COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


def count(words):
    config = parse_overrides(load_recipe(str(ROOT / "configs" / "digits.py")), words)
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
    return {"collectives": found, "params": params, "stats": stats}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(count(sys.argv[1:])) + "\n")

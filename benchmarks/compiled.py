"""ResNet-50's training step as the compilers of accelerators see it, next to Flax's Linen example.

    python -m benchmarks.compiled v5e v5p --json benchmarks/results/compiled.json
    python -m benchmarks.compiled h200 --json benchmarks/results/compiled.json
    python -m benchmarks.compiled v5e h200 --fold-norms --json benchmarks/results/compiled.json

The accelerators need not be there, only their compilers: the extra `aot` for TPUs, `cuda` for GPUs.
A call replaces the rows of its chips in the file and keeps the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import contest
from benchmarks.linen_networks import ResNet50
from resnet_jax.aot.apart import run_apart
from resnet_jax.aot.estimate import StepEstimate, estimate_step
from resnet_jax.aot.hlo import memory_traffic, parse_hlo
from resnet_jax.aot.lowering import batch_shapes
from resnet_jax.aot.topology import Topology, compile_for, describe_topology
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.machine.mesh import mesh_of, replicated
from resnet_jax.training.recipe.config import ModelConfig, TrainConfig
from resnet_jax.training.workdir.checkpoint_parts import like

BATCH, SIZE, CLASSES = 256, 224, 1000
CONFIG = TrainConfig(
    batch_size=BATCH,
    model=ModelConfig(
        name="resnet50", num_classes=CLASSES, in_features=3, dtype="bfloat16", zero_init_last=True
    ),
)


def main() -> int:
    """Compiles for the chips and writes what the programs do."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("chips", nargs="+", metavar="CHIP", help="v5e, v5p, v6e, h200 ...")
    parser.add_argument("--without-linen", action="store_true", help="compile only ours")
    parser.add_argument("--fold-norms", action="store_true", help="with model.fold_norms")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    flags = parser.parse_args()
    for chip in flags.chips:
        rows = run_apart(
            compile_for_chip, chip, with_linen=not flags.without_linen, fold=flags.fold_norms
        )
        for row in rows:
            contest.show(row)
        if flags.json:
            merge(flags.json, rows)
    return 0


def compile_for_chip(chip: str, *, with_linen: bool, fold: bool) -> list[contest.Row]:
    """Compiles both steps for a chip, in a process with large stacks."""
    topology = describe_topology(chip)
    model = dataclasses.replace(CONFIG.model, fold_norms=fold)
    config = dataclasses.replace(CONFIG, model=model)
    ours = estimate_step(config, topology, step="training", size=SIZE)
    what = f"resnet50, training, bfloat16, batch {BATCH} on one {chip}"
    if fold:
        what += ", norms folded"
    return _rows(what, topology, ours, linen_traffic(topology) if with_linen else None)


def linen_traffic(topology: Topology) -> float:
    """Compiles the step of Flax's ImageNet example, and returns its memory traffic in bytes."""
    mesh = mesh_of(topology.devices)
    model, optimizer = ResNet50(CLASSES, jnp.bfloat16), optax.sgd(0.1, momentum=0.9)

    def first() -> Any:
        variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)), train=False)
        return variables["params"], variables["batch_stats"], optimizer.init(variables["params"])

    def step(state: Any, batch: Any) -> Any:
        params, stats, opt_state = state
        images = normalize(batch["image"], (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

        def loss_fn(params: Any) -> Any:
            logits, new = model.apply(
                {"params": params, "batch_stats": stats},
                images,
                train=True,
                mutable=["batch_stats"],
            )
            logits = logits.astype(jnp.float32)
            loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
            decay = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
            return loss + 0.5e-4 * decay, (new["batch_stats"], logits)

        (loss, (stats, logits)), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        accuracy = jnp.mean(logits.argmax(-1) == batch["label"])
        return (optax.apply_updates(params, updates), stats, opt_state), (loss, accuracy)

    place = replicated(mesh)
    lowered = jax.jit(step, donate_argnums=0, out_shardings=(place, place)).lower(
        like(jax.eval_shape(first), place), batch_shapes(CONFIG, mesh, BATCH, size=SIZE)
    )
    compiled = compile_for(topology, lowered)
    return memory_traffic(parse_hlo(compiled), platform=topology.chip.platform)


def _rows(
    what: str, topology: Topology, ours: StepEstimate, theirs: float | None
) -> list[contest.Row]:
    assert ours.traffic is not None
    rate = BATCH * topology.chip.bandwidth
    peers = {} if theirs is None else {"linen": theirs}
    ratio = None if theirs is None else theirs / ours.traffic
    return [
        contest.Row(
            f"{what}, GB of memory traffic",
            ours.traffic / 1e9,
            {who: value / 1e9 for who, value in peers.items()},
            ours.floor / 1e9,
            ratio,
            None,
            None,
            contest.command(),
        ),
        contest.Row(
            f"{what}, images/s at most",
            ours.images_per_second,
            {who: rate / value for who, value in peers.items()},
            rate / ours.floor,
            ratio,
            None,
            None,
            contest.command(),
        ),
        contest.Row(
            f"{what}, GB of memory",
            ours.memory / 1e9,
            {},
            ours.available / 1e9,
            None,
            None,
            None,
            contest.command(),
        ),
    ]


def merge(path: pathlib.Path, rows: list[contest.Row]) -> None:
    """Writes the rows, after those of the file with other names."""
    names = {row.name for row in rows}
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    kept = [contest.Row(**row) for row in old if row["name"] not in names]
    contest.write(path, [*kept, *rows], {})


if __name__ == "__main__":
    sys.exit(main())

"""How a training step scales over the chips of a v5e slice, as the compiler for TPUs makes it.

    python -m benchmarks.compiled_scaling --json benchmarks/results/compiled_scaling.json

The images of a chip are always as many. Nothing runs; the extra `aot` is needed. A call adds its
rows to the file, or replaces those of the same name.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import jax

from benchmarks import contest
from benchmarks.compiled import merge
from resnet_jax.aot.estimate import estimate_step, without_data
from resnet_jax.aot.topology import describe_topology
from resnet_jax.training.recipe.config import MeshConfig, ModelConfig, TrainConfig

SLICES = {1: "v5e", 4: "v5e:2x2", 16: "v5e:4x4", 64: "v5e:8x8", 256: "v5e:16x16"}
WAYS = ("groups", "global", "fsdp")


def main() -> int:
    """Compiles for each number of chips and writes what the programs do."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--images", type=int, default=128, help="images of a chip")
    parser.add_argument("--chips", type=int, nargs="*", default=list(SLICES), choices=SLICES)
    parser.add_argument("--ways", nargs="*", default=WAYS, choices=WAYS)
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    flags = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    for way in flags.ways:
        for chips in flags.chips:
            row = _row(flags.model, way, chips, images=flags.images, size=flags.size)
            contest.show(row)
            if flags.json:
                merge(flags.json, [row])
    return 0


def _row(name: str, way: str, chips: int, *, images: int, size: int) -> contest.Row:
    group = None if way == "global" else images
    config = without_data(
        TrainConfig(
            batch_size=chips * images,
            model=ModelConfig(name=name, dtype="bfloat16", norm_group_size=group),
            mesh=MeshConfig(fsdp=way == "fsdp"),
        )
    )
    found = estimate_step(config, describe_topology(SLICES[chips]), step="training", size=size)
    exchanges = (found.collectives or {}).values()
    figures = {
        "ours, MB of memory": found.memory / 1e6,
        "ours, exchanges": float(sum(one.times for one in exchanges)),
        "ours, MB exchanged": sum(one.bytes for one in exchanges) / 1e6,
        "ours, seconds to compile": found.compile_seconds,
    }
    slice_ = "1 chip" if chips == 1 else f"{chips} chips"
    what = {"groups": "groups of a chip", "global": "the global batch", "fsdp": "groups, fsdp"}
    return dataclasses.replace(
        contest.row(
            f"{name}, {images} images a chip, {what[way]}, {slice_}, MB of memory traffic",
            {"ours": [(found.traffic or 0) / 1e6]},
            limit=None,
            goal=None,
        ),
        peers=figures,
        spread=None,
    )


if __name__ == "__main__":
    sys.exit(main())

"""`resnet-jax compile`; a module of that name would hide Python's function."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnet_jax.cli.command import Command
from resnet_jax.cli.hints import CONFIG
from resnet_jax.cli.training import CONFIG_NOTE
from resnet_jax.errors import counted

if TYPE_CHECKING:
    from resnet_jax.aot.chips import Chip
    from resnet_jax.aot.estimate import StepEstimate
    from resnet_jax.training.recipe.config import TrainConfig

_NOTES = """
It takes no accelerator, only its compiler: for v4, v5e, v5p, v6e and tpu7x the
extra aot, for a100, h100, h200 the extra cuda. docs/tpu.md explains the table.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("--config", metavar="RECIPE[:ARGUMENT]", help="name or file (digits)")
    parser.add_argument(
        "--topology", required=True, metavar="CHIP[:SHAPE]", help="v5e, v5e:4x4, h200:8 ..."
    )
    parser.add_argument("--size", type=int, help="height and width of the images (the recipe's)")
    parser.add_argument(
        "--step", choices=("training", "evaluation"), help="compile only one step (both)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Compiles the steps of a recipe, and prints what they need; status 1 if one does not fit."""
    import jax

    # Where libtpu is installed and no TPU, JAX would look for one for seconds.
    jax.config.update("jax_platforms", "cpu")

    from resnet_jax.aot.apart import run_apart
    from resnet_jax.aot.estimate import estimate_steps, recipe_image_size, without_data
    from resnet_jax.aot.lowering import STEPS
    from resnet_jax.errors import ConfigError
    from resnet_jax.training.recipe.load import DEFAULT_RECIPE, load_recipe
    from resnet_jax.training.recipe.overrides import parse_overrides

    if flags.size is not None and flags.size < 1:
        raise ConfigError(f"--size={flags.size}: images have at least one pixel")
    recipe = flags.config or DEFAULT_RECIPE
    given = parse_overrides(load_recipe(recipe), overrides)
    config = without_data(given)
    size = flags.size or recipe_image_size(config)
    steps = [step for step in STEPS if flags.step in (None, step)]
    name, chip, estimates = run_apart(
        estimate_steps, config, flags.topology, steps=steps, size=size
    )
    if flags.json:
        about = {"recipe": recipe, "topology": name, "image_size": size}
        found = [_as_json(estimate) for estimate in estimates]
        print(json.dumps(about | {"jax": jax.__version__, "steps": found}))
    else:
        print(_hardware(recipe, name, chip, estimates[0].chips))
        print("\n".join(_network(given, config, size, flags.size is None)))
        print("\n".join(_table(estimates)))
    return 0 if all(estimate.fits for estimate in estimates) else 1


def _as_json(estimate: StepEstimate) -> dict[str, Any]:
    found = estimate.collectives
    exchanges = None if found is None else {kind: one._asdict() for kind, one in found.items()}
    return dataclasses.asdict(estimate) | {"collectives": exchanges}


def _hardware(recipe: str, topology: str, chip: Chip, chips: int) -> str:
    what = counted(chips, "chip") + (" with" if chips == 1 else ", each with")
    memory = f"{chip.memory / 2**30:.1f} GiB"
    if chip.platform == "cuda":
        memory += " (the three quarters that JAX reserves)"
    speed = f"{chip.bandwidth / 1e9:,.0f} GB/s and {chip.flops / 1e12:,.0f} TFLOP/s in bfloat16"
    return f"{recipe} on {topology}: {what} {memory}, {speed}"


def _network(given: TrainConfig, config: TrainConfig, size: int, usual_size: bool) -> list[str]:
    """Says what is compiled, and which of it only the data could tell."""
    classes, channels = config.model.sizes()
    parts = {
        "--size": f"{size} x {size} pixels",
        "--config.model.in_features": counted(channels, "channel"),
        "--config.model.num_classes": counted(classes, "class"),
    }
    told = {
        "--size": not usual_size or given.data.image_size,
        "--config.model.in_features": given.model.in_features or given.data.channels,
        "--config.model.num_classes": given.model.num_classes,
    }
    lines = [f"{config.model.name} in {config.model.dtype}: {', '.join(parts.values())}"]
    assumed = [f"{what} ({flag})" for flag, what in parts.items() if not told[flag]]
    if assumed:
        lines.append(f"Only the data can tell, so the usual is assumed: {', '.join(assumed)}")
    return lines


def _table(estimates: Sequence[StepEstimate]) -> list[str]:
    rows: list[tuple[str, list[str]]] = [("", [str(each.step) for each in estimates])]
    for title, field, unit in FIGURES:
        figures = [getattr(each, field) for each in estimates]
        rows.append((title, [_figure(value, unit) for value in figures]))
    for kind in dict.fromkeys(kind for each in estimates for kind in each.collectives or ()):
        found = [(each.collectives or {}).get(kind) for each in estimates]
        cells = [f"{one.times}, in all {_figure(one.bytes, 'B')}" if one else "0" for one in found]
        rows.append((f"{kind}, a chip", cells))
    return [f"{title:34}" + "".join(f"{cell:>22}" for cell in cells) for title, cells in rows]


def _figure(value: float | str | None, unit: str) -> str:
    """Writes a figure in a unit that suits its size, such as 63.1 MB."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, str):
        return value
    if unit in ("", "s"):
        return f"{value:,.0f} {unit}".strip()
    step, prefixes = (1024, "KMGT") if unit == "iB" else (1000, "kMGT")
    if value < step:
        return f"{value:.0f} {unit.removeprefix('i')}"
    power = 0
    while value >= step and power < len(prefixes):
        value, power = value / step, power + 1
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:.{digits}f} {prefixes[power - 1]}{unit}"


FIGURES = (
    ("images a step, all chips", "batch_size", ""),
    ("fits", "fits", ""),
    ("memory a chip needs", "memory", "iB"),
    ("largest batch to fit, estimated", "largest_batch", ""),
    ("operations, a chip", "flops", "FLOP"),
    ("memory traffic, a chip", "traffic", "B"),
    ("least for layers one by one", "floor", "B"),
    ("images/s at most, all chips", "images_per_second", ""),
    ("limited by", "limit", ""),
    ("compiled in", "compile_seconds", "s"),
)

COMMAND = Command(
    name="compile",
    summary="Compile a recipe for accelerators that this machine does not have.",
    usage="--config=RECIPE --topology=CHIP[:SHAPE]",
    epilog=CONFIG_NOTE
    + _NOTES
    + "\nexample: resnet-jax compile --config=imagenet_resnet50 --topology=v5e:4x4",
    add_flags=add_flags,
    run=run,
    overrides=(CONFIG,),
)

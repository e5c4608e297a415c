"""What the recipes need on an accelerator, as its compiler makes their steps; as Markdown.

    python -m benchmarks.compiled_recipes h200
    python -m benchmarks.compiled_recipes v5e:4x4 --recipes digits imagenet_rsb

The accelerator need not be there, only its compiler: the extra `aot` for TPUs, `cuda` for GPUs.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import jax

from resnet_jax.aot.apart import run_apart
from resnet_jax.aot.estimate import StepEstimate, estimate_steps, recipe_image_size, without_data
from resnet_jax.aot.lowering import STEPS
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.load import load_recipe

RECIPES = sorted(
    path.stem for path in (pathlib.Path(__file__).resolve().parents[1] / "configs").glob("*.py")
)
HEADS = ("recipe", "step", "images", "fits", "memory, GB", "traffic, GB", "images/s at most")


def main() -> int:
    """Compiles, and prints a row for each step; status 1 if one does not compile or fit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("topology", help="h200, v5e:4x4 ...")
    parser.add_argument("--recipes", nargs="+", default=RECIPES, choices=RECIPES)
    flags = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    print("| " + " | ".join(HEADS) + " |\n|---|---" + "|---:" * (len(HEADS) - 2) + "|", flush=True)
    fits = True
    for recipe in flags.recipes:
        config = without_data(load_recipe(recipe))
        size = recipe_image_size(config)
        what = f"{recipe}: {config.model.name}, {config.model.dtype}, {size} px"
        for step in STEPS:
            try:
                *_, (found,) = run_apart(
                    estimate_steps, config, flags.topology, steps=[step], size=size
                )
            except ConfigError as error:
                print(f"{what}, {step}: {error}", file=sys.stderr, flush=True)
                fits = False
                continue
            print(_row(what, found), flush=True)
            fits = fits and found.fits
    return 0 if fits else 1


def _row(what: str, found: StepEstimate) -> str:
    rate = found.images_per_second
    cells = (
        what,
        found.step,
        f"{found.batch_size:,}",
        "yes" if found.fits else "no",
        f"{found.memory / 1e9:.2f}",
        "" if found.traffic is None else f"{found.traffic / 1e9:.2f}",
        "" if rate is None else f"{rate:,.0f} ({found.limit})",
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())

"""Does the accelerator of this machine compute the training step that its CPU computes?

    JAX_PLATFORMS=cuda,cpu python -m benchmarks.accelerator_check

Trains a network for a few steps on both from the same state and the same images, and compares loss,
norm of the gradient and parameters, in float32 (products in full precision), in bfloat16, and there
also with norms folded into 1x1 convolutions. The status is 1 if they differ by more than rounding.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Literal

import jax
import numpy as np

from resnet_jax.machine.mesh import mesh_of, put_batch
from resnet_jax.training.recipe.config import ModelConfig, TrainConfig
from resnet_jax.training.step.programs import make_train_program
from resnet_jax.training.step.state import initial_state, make_graphs

STEPS = 3
DType = Literal["float32", "bfloat16"]
# Of each figure, relative: sums in another order, and for bfloat16 its eight bits over 50 layers.
BOUNDS: dict[DType, float] = {"float32": 2e-3, "bfloat16": 8e-2}
CHECKS: tuple[tuple[DType, bool], ...] = (
    ("float32", False),
    ("bfloat16", False),
    ("bfloat16", True),  # with norms folded
)


def main() -> int:
    """Compares, and prints a line for each way to compute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=64)
    flags = parser.parse_args()
    device, reference = jax.devices()[0], jax.devices("cpu")[0]
    print(f"{device.device_kind} against {reference.device_kind}", flush=True)
    worst = 0.0
    for dtype, fold in CHECKS:
        bound, what = BOUNDS[dtype], f"{dtype}, norms folded" if fold else dtype
        model = ModelConfig(
            flags.model, num_classes=10, in_features=3, dtype=dtype, fold_norms=fold
        )
        config = TrainConfig(batch_size=flags.batch, model=model)
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            ours, theirs = (_figures(config, each, flags.size) for each in (device, reference))
        apart = {name: abs(ours[name] - theirs[name]) / abs(theirs[name]) for name in theirs}
        worst = max(worst, *(value / bound for value in apart.values()))
        text = ", ".join(f"{name} {value:.1e}" for name, value in apart.items())
        print(f"{what}: apart by {text} (at most {bound:g})", flush=True)
    return 0 if worst <= 1 else 1


def _figures(config: TrainConfig, device: Any, size: int) -> dict[str, float]:
    """Trains on one device."""
    mesh = mesh_of([device])
    program = make_train_program(config, make_graphs(config.model), mesh, steps_per_epoch=1000)
    # Drawn on the CPU for both: other platforms may round the numbers otherwise.
    with jax.default_device(jax.devices("cpu")[0]):
        drawn = jax.jit(lambda: initial_state(config, program.optimizer))()
    state = jax.device_put(jax.tree.map(np.array, drawn), program.shardings)
    rng = np.random.default_rng(0)
    figures: dict[str, float] = {}
    for step in range(STEPS):
        batch = {
            "image": rng.integers(0, 256, (config.batch_size, size, size, 3), np.uint8),
            "label": rng.integers(0, 10, config.batch_size).astype(np.int32),
            "mask": np.ones(config.batch_size, bool),
        }
        state, sums = program.step(state, put_batch(batch, mesh))
        figures |= {f"{name} {step}": float(sums[name]) for name in ("loss", "gradient_norm")}
    squares = [np.sum(np.square(leaf, dtype=np.float64)) for leaf in jax.tree.leaves(state.params)]
    return figures | {"parameters": float(np.sqrt(sum(squares)))}


if __name__ == "__main__":
    sys.exit(main())

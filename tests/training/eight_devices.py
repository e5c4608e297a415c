"""Measures the digits recipe on eight devices; a test starts it where there are so many.

Prints the bytes of each kind of collective in the compiled step and in a convolution's gradient,
and how far apart are the steps of one device and of eight in float64, and our gradients and those
of `jax.lax` in `jax.shard_map`.
"""

import functools
import json
import pathlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from resnet_jax.layers.ops import convolve
from resnet_jax.machine.mesh import put_batch
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides
from resnet_jax.training.trainer import make_trainer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "u8": 1, "s64": 8, "f64": 8, "u64": 8}
COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)


def trainer_on(devices, batch_size):
    words = [
        "--config.model.name=resnet8",
        f"--config.mesh.devices={devices}",
        f"--config.batch_size={batch_size}",
        "--config.schedule.warmup_epochs=0.0",
        "--config.loss.class_weights=1,9,2,8,3,7,4,6,5,0.5",
    ]
    config = parse_overrides(load_recipe(str(ROOT / "configs" / "digits.py")), words)
    return make_trainer(make_evaluator(config))


def collectives(compiled):
    """Returns the bytes that each kind of collective moves, written in the program once."""
    found = {}
    for shapes, kind in COLLECTIVE.findall(compiled.as_text()):
        sizes = [
            BYTES[dtype] * int(np.prod([int(n) for n in shape.split(",") if n] or [1]))
            for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes)
        ]
        found[kind] = found.get(kind, 0) + sum(sizes)
    return found


def of_a_large_convolution():
    """The gradient of a kernel is summed over images in a loop; devices add up after it."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    layer = functools.partial(
        convolve,
        window_strides=(1, 1),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    gradient = jax.jit(
        jax.grad(lambda kernel, x: jnp.sin(layer(x, kernel)).sum()),
        in_shardings=(whole, split),
        out_shardings=whole,
    )
    compiled = gradient.lower(jnp.ones((3, 3, 16, 16)), jnp.ones((32, 16, 16, 16))).compile()
    (body,) = re.findall(r"body=%([\w.]+)", compiled.as_text())
    inside = re.search(rf"^%{re.escape(body)} .*?^}}", compiled.as_text(), re.S | re.M)[0]
    return {"moved": collectives(compiled), "in_loop": len(COLLECTIVE.findall(inside))}


def apart_in_shard_map():
    """Gradients by a kernel that all devices share are summed, whichever way computes them."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    errors = []
    for size, features, kernel_size in ((8, 8, 1), (16, 20, 3), (8, 8, 3)):
        side = kernel_size // 2
        keys = jax.random.split(jax.random.key(0))
        x = jax.random.normal(keys[0], (16, size, size, 16))
        kernel = jax.random.normal(keys[1], (kernel_size, kernel_size, 16, features))

        def gradient(convolution, x=x, kernel=kernel, side=side):
            def loss(kernel, x):
                pads = ((side, side), (side, side))
                numbers = ("NHWC", "HWIO", "NHWC")
                y = convolution(x, kernel, (1, 1), pads, dimension_numbers=numbers)
                return jax.lax.psum(jnp.sin(y).sum(), "data")

            specs = (PartitionSpec(), PartitionSpec("data"))
            whole = jax.shard_map(loss, mesh=mesh, in_specs=specs, out_specs=PartitionSpec())
            return jax.jit(jax.grad(whole))(kernel, x)

        ours, theirs = map(gradient, (convolve, jax.lax.conv_general_dilated))
        errors.append(float(jnp.abs(ours - theirs).max() / jnp.abs(theirs).max()))
    return max(errors)


def count():
    trainer = trainer_on(8, 64)
    size = trainer.config.batch_size
    label = np.zeros(size, np.int32)
    batch = {"image": np.zeros((size, 8, 8, 1), np.uint8), "label": label, "mask": label == 0}
    state = trainer.like()
    lowered = trainer.train_step.lower(state, put_batch(batch, trainer.mesh))
    params, stats = (
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (state.params, state.batch_stats)
    )
    return {
        "collectives": collectives(lowered.compile()),
        "large": of_a_large_convolution(),
        "apart_in_shard_map": apart_in_shard_map(),
        "params": params,
        "stats": stats,
    }


def after_steps(devices, steps):
    """Returns the arrays that are not integers, in float64, after steps with all of the recipe."""
    trainer = trainer_on(devices, 16)  # XLA's convolution in float64 is a slow one

    def widen(leaf, place):
        dtype = jnp.float64 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype
        return jax.device_put(np.asarray(leaf, dtype), place)

    state = jax.tree.map(widen, trainer.first_state(), trainer.shardings)
    with trainer.batches() as batches:
        for step in range(steps):
            state, sums = trainer.train_step(state, trainer.put(next(batches), step))
    leaves = jax.device_get(jax.tree.leaves((state, sums)))
    return [leaf for leaf in leaves if leaf.dtype == np.float64]


def apart():
    with jax.enable_x64(True):
        pairs = zip(after_steps(1, 3), after_steps(8, 3), strict=True)
        return max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in pairs)


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"apart": apart(), **count()}) + "\n")

"""How fast do networks train and infer, against PyTorch on the same machine?

    python -m benchmarks.networks --json benchmarks/results/networks_cpu.json
    python -m benchmarks.networks --device=gpu --json benchmarks/results/networks_gpu.json

On a CPU: ResNet-18 and ResNet-50 at 224 pixels in batches of 16, and ResNet-20 on CIFAR's 32 pixels
in batches of 128, in float32. On a GPU: ResNet-50 at 224 pixels in batches of 256, in bfloat16. The
peers are PyTorch with channels_last (and autocast on a GPU), as it is and under torch.compile, and
the same network in Flax's usual way, without what this project does for CPUs; that one works by
itself after the others, which its waiting process would slow. On a GPU, ours is there twice, also
with norms folded into 1x1 convolutions.
A training step is forward, backward and SGD with momentum. The limits are measured in the same
run: the rate of a product of square matrices, over the operations of the convolutions as defined,
and the rate at which memory is read and written, over the bytes that it moves at the least
(`benchmarks.cases`); the lower one stands in the row.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import sys
import unittest.mock
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import contest
from benchmarks.cases import CPU_CASES, GPU_CASES, Case, numbers_moved, operations

Step = Callable[[], Any]
UNITS = {"products": "FLOP/s of a matrix product", "memory": "bytes/s of memory"}
LIMITS = tuple(UNITS)
PEERS = {
    "cpu": ("ours", "flax", "torch", "torch.compile", *LIMITS),
    "gpu": ("ours", "ours, folded", "flax", "torch", "torch.compile", *LIMITS),
}
MATRIX = {"cpu": 2048, "gpu": 8192}  # rows and columns
VECTOR = {"cpu": 2**26, "gpu": 2**29}  # numbers in float32, more than caches hold
NUMBER = {"cpu": 4, "gpu": 2}  # bytes of an activation


def main(arguments: Sequence[str] | None = None) -> int:
    """Holds the contests, prints their rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", help="networks; all where none is named")
    parser.add_argument("--peers", nargs="*", choices=PEERS["gpu"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn, about")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    # Several processes share a GPU, of which each would otherwise reserve three quarters.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    cases = CPU_CASES if flags.device == "cpu" else GPU_CASES
    if flags.contestant:
        who, work, model = flags.contestant
        (case,) = (case for case in cases if case.model == model)
        contest.serve(CONTESTANTS[who](case, work == "training", flags.device))
        return 0
    rows: list[contest.Row] = []
    limits: dict[str, float] = {}
    for case in cases:
        if flags.only and case.model not in flags.only:
            continue
        for work in ("training", "inference"):
            rates = _hold(case, work, flags)
            measured = {what: max(rates.pop(what)) for what in LIMITS if what in rates}
            limits |= {f"{case.model} {work}: {UNITS[what]}": measured[what] for what in measured}
            needs = _needs(case, work == "training", flags.device)
            limit = min((measured[what] / needs[what] for what in measured), default=None)
            goal = 1.25 if flags.device == "gpu" and work == "training" else 1.0
            name = f"{case.model}, {work}, {case.size} px, batch {case.batch}, images/s"
            rows.append(contest.row(name, rates, limit=limit, goal=goal))
            contest.show(rows[-1])
            if flags.json:
                contest.write(flags.json, rows, limits)
    return 0


def _hold(case: Case, work: str, flags: argparse.Namespace) -> dict[str, list[float]]:
    """Returns images a second of each contestant, and the rates of the limits."""
    program = ["-m", "benchmarks.networks", f"--device={flags.device}", "--contestant"]
    peers = flags.peers or PEERS[flags.device]
    commands = {who: (*program, who, work, case.model) for who in peers}
    apart = {who: commands.pop(who) for who in ("flax",) if who in commands}
    with contest.ready(commands) as contestants:
        first = contest.turns(contestants, rounds=1, steps=1)
        usual = min(turns[0] for who, turns in first.items() if who not in LIMITS)
        steps = max(1, round(flags.seconds / usual))
        seconds = contest.turns(contestants, rounds=flags.rounds, steps=steps)
    seconds |= contest.contest(apart, rounds=flags.rounds, steps=steps)
    work_done = {
        "products": 2.0 * MATRIX[flags.device] ** 3,
        "memory": 2.0 * 4 * VECTOR[flags.device],  # read and written
    }
    return {
        who: [work_done.get(who, case.batch) / turn for turn in turns]
        for who, turns in seconds.items()
    }


def _needs(case: Case, training: bool, device: str) -> dict[str, float]:
    """Returns the FLOPs and the bytes of an image."""
    moved = NUMBER[device] * numbers_moved(case, training=training)
    return {"products": operations(case, training=training), "memory": moved}


def _ours(case: Case, training: bool, device: str, **settings: Any) -> Step:
    from resnet_jax.layers.ops import convolve
    from resnet_jax.machine.cpu import keep_freed_memory, use_every_core

    keep_freed_memory()  # as `train` does
    use_every_core(case.batch)
    return _jax(case, training, device, convolve, **settings)


def _ours_remat(case: Case, training: bool, device: str) -> Step:
    return _ours(case, training, device, remat=True)


def _ours_folded(case: Case, training: bool, device: str) -> Step:
    from resnet_jax.models import BatchNormConfig

    return _ours(case, training, device, batch_norm=BatchNormConfig(fold=True))


def _flax(case: Case, training: bool, device: str) -> Step:
    import jax

    from resnet_jax.blocks import identity
    from resnet_jax.models import trunk

    unittest.mock.patch.object(trunk, "compute_once", identity).start()
    batch_norm = importlib.import_module("resnet_jax.layers.ops.batch_norm")
    max_pool = importlib.import_module("resnet_jax.layers.ops.max_pool")
    unittest.mock.patch.object(max_pool, "_max_pool", max_pool._usual_max_pool).start()
    usual = batch_norm._usual_normalize_batch
    unittest.mock.patch.object(batch_norm, "_normalize_batch", usual).start()
    return _jax(case, training, device, jax.lax.conv_general_dilated)


def _jax(
    case: Case,
    training: bool,
    device: str,
    convolution: Callable[..., Any],
    **settings: Any,
) -> Step:
    import jax
    import jax.numpy as jnp
    from flax import nnx
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    from resnet_jax import create_model

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    dtype = jnp.bfloat16 if device == "gpu" else None
    model = create_model(
        case.model, num_classes=case.classes, dtype=dtype, rngs=nnx.Rngs(0), **settings
    )
    for _, module in nnx.iter_graph(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = convolution
    if not training:
        model.eval()
    graphdef, *states = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, stats = jax.device_put(tuple(map(nnx.to_pure_dict, states)), whole)
    images = jax.device_put(case.random_images(), split)
    labels = jax.device_put(jnp.arange(case.batch) % case.classes, split)

    def forward(params: Any, stats: Any, images: Any) -> tuple[jax.Array, Any]:
        module = nnx.merge(graphdef, params, stats)
        return module(images), nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))

    if training:
        return training_step(forward, params, stats, images, labels)
    infer = jax.jit(lambda *arguments: forward(*arguments)[0])
    return lambda: jax.block_until_ready(infer(params, stats, images))


def training_step(forward: Callable[..., Any], params: Any, stats: Any, *batch: Any) -> Step:
    """Makes a step of training by SGD with momentum, compiled and donated, out of a network in JAX.

    Args:
        forward: Maps parameters, statistics and images to logits and new statistics.
        params: Arrays; the step keeps them where they lie.
        stats: The same.
        batch: Images and labels.
    """
    import jax
    import optax

    optimizer = optax.sgd(0.1, momentum=0.9)

    def loss_fn(params: Any, stats: Any, images: Any, labels: Any) -> tuple[jax.Array, Any]:
        logits, stats = forward(params, stats, images)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), stats

    def train(params: Any, stats: Any, memory: Any, *batch: Any) -> Any:
        (_, stats), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, stats, *batch)
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), stats, memory

    place = jax.tree.leaves(params)[0].sharding  # every array's
    state = [(params, stats, jax.jit(optimizer.init, out_shardings=place)(params))]
    places = jax.tree.map(lambda leaf: leaf.sharding, state[0])
    compiled = jax.jit(train, donate_argnums=(0, 1, 2), out_shardings=places)

    def train_once() -> None:
        state[0] = jax.block_until_ready(compiled(*state[0], *batch))

    return train_once


def _torch(case: Case, training: bool, device: str, *, compiled: bool = False) -> Step:
    import torch

    from benchmarks.torch_networks import build

    where = "cuda" if device == "gpu" else "cpu"
    torch.backends.cudnn.benchmark = True  # tries kernels, as XLA does
    model = build(case.model, case.classes).to(where, memory_format=torch.channels_last)
    images = torch.randn(case.batch, 3, case.size, case.size, device=where)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(case.batch, device=where) % case.classes
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model.train(training)
    network = torch.compile(model) if compiled else model

    def finish() -> None:
        if where == "cuda":
            torch.cuda.synchronize()

    def forward() -> Any:
        with torch.autocast(where, torch.bfloat16, enabled=device == "gpu"):
            return network(images)

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(forward().float(), labels).backward()
        optimizer.step()
        finish()

    def infer() -> None:
        with torch.inference_mode():
            forward()
        finish()

    return train if training else infer


def _torch_compiled(case: Case, training: bool, device: str) -> Step:
    return _torch(case, training, device, compiled=True)


def _products(case: Case, training: bool, device: str) -> Step:
    del case, training  # a product of matrices, whatever the network
    import jax
    import jax.numpy as jnp

    side = MATRIX[device]
    dtype = jnp.bfloat16 if device == "gpu" else jnp.float32
    matrix = jnp.ones((side, side), dtype)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(matrix, matrix))


def _memory(case: Case, training: bool, device: str) -> Step:
    from resnet_jax.machine.cpu import use_every_core

    use_every_core(case.batch)
    del training
    import jax
    import jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    vector = [jax.device_put(jnp.ones(VECTOR[device]), split)]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def step() -> None:
        vector[0] = jax.block_until_ready(add(vector[0]))

    return step


CONTESTANTS: dict[str, Callable[[Case, bool, str], Step]] = {
    "ours": _ours,
    "ours, folded": _ours_folded,
    "ours, remat": _ours_remat,
    "flax": _flax,
    "torch": _torch,
    "torch.compile": _torch_compiled,
    "products": _products,
    "memory": _memory,
}

if __name__ == "__main__":
    sys.exit(main())

"""Where does the time of a training step go? Each convolution by itself, in its three directions.

    python -m benchmarks.convolutions --json benchmarks/results/convolutions.json

The networks and batches are those of `benchmarks.networks` on a CPU. Each shape of convolution that
a network has is computed alone, forward and for both gradients: as it is done here, with the batch
split over the cores, by `jax.lax` as Flax calls it, and by PyTorch in channels_last. A figure is
the time that all layers of the shape take in a step, so that they add up; those of the first layer
have no gradient by the input. The limit is the rate of a product of square matrices, measured in
the same rounds. `everything else` is what is left of a whole step: norms, activations, sums,
pooling, loss and optimizer, and what it costs that the caches have seen other layers in between.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import contest
from benchmarks.cases import CPU_CASES, Case, Layer, layers
from benchmarks.networks import MATRIX, Step

DIRECTIONS = ("forward", "input gradient", "kernel gradient")
PEERS = ("ours", "lax", "torch", "limit")
A_TURN = 0.15  # seconds, about


def main(arguments: Sequence[str] | None = None) -> int:
    """Holds the contests, prints their rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--only", nargs="*", help="networks; all where none is named")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", choices=PEERS, help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.contestant:
        contest.serve_each(CONTESTANTS[flags.contestant])
        return 0
    rows: list[contest.Row] = []
    for case in CPU_CASES:
        if flags.only and case.model not in flags.only:
            continue
        for row in _measure(case, flags):
            rows.append(row)
            contest.show(row)
            if flags.json:
                contest.write(flags.json, rows, {})
    return 0


def _measure(case: Case, flags: argparse.Namespace) -> Iterator[contest.Row]:
    """Yields a row for each layer and direction, for their sums and for what is left."""
    programs = {who: ("-m", "benchmarks.convolutions", "--contestant", who) for who in flags.peers}
    sums: dict[str, dict[str, float]] = {
        each: collections.defaultdict(float) for each in DIRECTIONS
    }
    shapes = layers(case)
    first, _ = shapes[0]
    with contest.ready(programs) as contestants:
        for layer, count in shapes:
            for direction in DIRECTIONS:
                if layer == first and direction == "input gradient":
                    continue
                milliseconds = _turns(contestants, layer, direction, flags.rounds, count)
                limit = milliseconds.pop("limit", None)
                name = f"{case.model}, {count} of {layer}, {direction}, ms"
                yield _row(name, milliseconds, limit)
                for who, values in (milliseconds | {"limit": limit or [0.0]}).items():
                    sums[direction][who] += statistics.median(values)
    for direction, totals in sums.items():
        yield _row_of_one(f"{case.model}, all layers, {direction}, ms", totals)
    step = _whole_step(case, [who for who in flags.peers if who in ("ours", "torch")], flags.rounds)
    rest = {who: step[who] - sum(totals[who] for totals in sums.values()) for who in step}
    yield _row_of_one(f"{case.model}, everything else, ms", rest)


def _turns(
    contestants: contest.Contestants, layer: Layer, direction: str, rounds: int, count: int
) -> dict[str, list[float]]:
    """Returns milliseconds of each turn, for as many layers; of the limit those at the best."""
    what = " ".join(map(str, (*dataclasses.astuple(layer), direction)))
    once = contest.turns(contestants, rounds=1, steps=1, what=what)
    usual = min(seconds[0] for who, seconds in once.items() if who != "limit")
    steps = max(1, round(A_TURN / usual))
    seconds = contest.turns(contestants, rounds=rounds, steps=steps, what=what)
    if "limit" in seconds:
        share = layer.operations / (2.0 * MATRIX["cpu"] ** 3)
        seconds["limit"] = [share * min(seconds["limit"])]
    return {who: [1e3 * count * each for each in turns] for who, turns in seconds.items()}


def _whole_step(case: Case, peers: Sequence[str], rounds: int) -> dict[str, float]:
    """Returns the milliseconds of a whole training step."""
    words = ("-m", "benchmarks.networks", "--contestant")
    programs = {who: (*words, who, "training", case.model) for who in peers}
    seconds = contest.contest(programs, rounds=max(rounds, 3), steps=2)
    return {who: 1e3 * statistics.median(turns) for who, turns in seconds.items()}


def _row(
    name: str, milliseconds: dict[str, list[float]], limit: Sequence[float] | None
) -> contest.Row:
    best = limit[0] if limit else None
    return contest.row(name, milliseconds, limit=best, goal=None, less_is_better=True)


def _row_of_one(name: str, figures: Mapping[str, float]) -> contest.Row:
    values = {who: [value] for who, value in figures.items() if who != "limit"}
    return _row(name, values, [figures["limit"]] if figures.get("limit") else None)


def _ours(what: str) -> Step:
    from resnet_jax.layers.ops import convolve
    from resnet_jax.machine.cpu import keep_freed_memory, use_every_core

    layer, _ = _read(what)
    keep_freed_memory()  # as `train` does
    use_every_core(layer.batch)
    return _jax(what, convolve)


def _lax(what: str) -> Step:
    import jax

    return _jax(what, jax.lax.conv_general_dilated)


def _jax(what: str, convolution: Any) -> Step:
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    layer, direction = _read(what)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    whole, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    side = layer.kernel // 2

    def forward(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        strides, padding = (layer.stride,) * 2, ((side, side),) * 2
        output: jax.Array = convolution(inputs, kernel, strides, padding, dimension_numbers=numbers)
        return output

    def by_input(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        _, pull = jax.vjp(lambda value: forward(value, kernel), inputs)
        return pull(gradient)[0]

    def by_kernel(inputs: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        _, pull = jax.vjp(lambda value: forward(inputs, value), kernel)
        return pull(gradient)[0]

    sizes = (
        (layer.batch, layer.size, layer.size, layer.in_features),
        (layer.kernel, layer.kernel, layer.in_features, layer.features),
        (layer.batch, layer.out_size, layer.out_size, layer.features),
    )
    arrays = [
        jax.device_put(jax.random.normal(jax.random.key(0), size), place)
        for size, place in zip(sizes, (split, whole, split), strict=True)
    ]
    # Training differentiates, and what is differentiated may take another way.
    functions = {
        "forward": lambda *arrays: jax.vjp(forward, *arrays[:2])[0],
        "input gradient": by_input,
        "kernel gradient": by_kernel,
    }
    place = whole if direction == "kernel gradient" else split
    compiled = jax.jit(functions[direction], out_shardings=place)
    return lambda: jax.block_until_ready(compiled(*arrays))


def _torch(what: str) -> Step:
    import torch

    layer, direction = _read(what)
    last = {"memory_format": torch.channels_last}
    inputs = torch.randn(layer.batch, layer.in_features, layer.size, layer.size).to(**last)
    kernel = torch.randn(layer.features, layer.in_features, layer.kernel, layer.kernel).to(**last)
    gradient = torch.randn(layer.batch, layer.features, layer.out_size, layer.out_size).to(**last)
    place = ([layer.stride] * 2, [layer.kernel // 2] * 2, [1, 1])
    wanted = [direction == "input gradient", direction == "kernel gradient", False]

    def forward() -> Any:
        with torch.inference_mode():
            return torch.ops.aten.conv2d(inputs, kernel, None, *place)

    def backward() -> Any:
        with torch.inference_mode():
            return torch.ops.aten.convolution_backward(
                gradient, inputs, kernel, None, *place, False, [0, 0], 1, wanted
            )

    return forward if direction == "forward" else backward


def _limit(what: str) -> Step:
    del what  # a product of matrices, whatever the layer
    import jax
    import jax.numpy as jnp

    matrix = jnp.ones((MATRIX["cpu"],) * 2)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(matrix, matrix))


def _read(what: str) -> tuple[Layer, str]:
    *numbers, direction = what.split(" ", len(dataclasses.fields(Layer)))
    return Layer(*map(int, numbers)), direction


CONTESTANTS = {"ours": _ours, "lax": _lax, "torch": _torch, "limit": _limit}

if __name__ == "__main__":
    sys.exit(main())

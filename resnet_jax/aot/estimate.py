"""What a recipe's steps need on accelerators, and how fast these could run them at best."""

from __future__ import annotations

import dataclasses
import math
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.aot.chips import Chip
from resnet_jax.aot.floor import floor_of
from resnet_jax.aot.hlo import Collective, collectives, memory_traffic, parse_hlo
from resnet_jax.aot.lowering import StepName, lower_step
from resnet_jax.aot.topology import Topology, compile_for, describe_topology
from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import mesh_of
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.state import build_model
from resnet_jax.zoo import model_config
from resnet_jax.zoo.costs import cost, native_size

_PRODUCTS = {"training": 3, "evaluation": 1}  # itself, and a gradient for inputs and for kernel


@dataclasses.dataclass(frozen=True)
class StepEstimate:
    """A compiled step. Bytes and operations are those of one chip.

    If it does not fit, what only a compiled program can tell is None.

    Attributes:
        step: `training` or `evaluation`.
        batch_size: Images of a step on all chips.
        chips: How many there are.
        fits: Whether its memory is enough.
        memory: Bytes that the step needs.
        available: Bytes that there are.
        largest_batch: Images that would fit, if all memory but that of the state grows with them.
        flops: Operations of the network's convolutions and products, two for a multiply-add.
        floor: Bytes that memory would have to move at least for layers that run one by one.
        traffic: Bytes that it moves.
        collectives: Exchanges between chips by their kind.
        limit: Which takes longer at full speed, memory or arithmetic.
        images_per_second: All chips together at that speed.
        compile_seconds: How long the compiler took.
    """

    step: StepName
    batch_size: int
    chips: int
    fits: bool
    memory: float
    available: float
    largest_batch: int
    flops: float
    floor: float
    traffic: float | None
    collectives: dict[str, Collective] | None
    limit: str | None
    images_per_second: float | None
    compile_seconds: float


def without_data(config: TrainConfig) -> TrainConfig:
    """Takes from the network what a recipe leaves to its dataset: classes and channels."""
    usual = model_config(config.model.name)
    model = dataclasses.replace(
        config.model,
        num_classes=config.model.num_classes or usual.num_classes,
        in_features=config.model.in_features or config.data.channels or usual.in_features,
    )
    return dataclasses.replace(config, model=model)


def recipe_image_size(config: TrainConfig) -> int:
    """Returns the height and width of a recipe's images.

    Datasets of small images have a size that only their files tell; then it is the usual one of the
    network.
    """
    usual = native_size(config.model.name, model_config(config.model.name))
    return config.data.image_size or usual


def estimate_steps(
    config: TrainConfig, topology: str, *, steps: Sequence[StepName], size: int
) -> tuple[str, Chip, list[StepEstimate]]:
    """Compiles steps of a recipe for hardware that is named; see `estimate_step`.

    Returns:
        The name of the hardware, its chip, and what the steps need.
    """
    described = describe_topology(topology)
    found = [estimate_step(config, described, step=step, size=size) for step in steps]
    return described.name, described.chip, found


def estimate_step(
    config: TrainConfig, topology: Topology, *, step: StepName, size: int
) -> StepEstimate:
    """Compiles a step of a recipe and counts what it does.

    Args:
        config: The run, with the numbers that a dataset would tell; see `without_data`.
        topology: From `describe_topology`.
        step: Which of its steps.
        size: Height and width of the images.

    Raises:
        ConfigError: There are fewer devices than `mesh.devices`, or the recipe cannot be used.
    """
    mesh = mesh_of(topology.devices, config.mesh.devices)
    lowered, state, batch_size = lower_step(config, mesh, step=step, size=size)
    model = nnx.eval_shape(lambda: build_model(config.model, rngs=nnx.Rngs(0)))
    chip, per_chip = topology.chip, batch_size / mesh.size
    start = time.perf_counter()
    try:
        compiled = compile_for(topology, lowered)
        module = parse_hlo(compiled)
        memory, traffic = memory_of(compiled), memory_traffic(module, platform=chip.platform)
    except jax.errors.JaxRuntimeError as error:
        module, memory, traffic = None, _memory_asked_for(error), None
    took = time.perf_counter() - start
    elements = floor_of(model, size=size)
    moved = elements.training if step == "training" else elements.forward + elements.block_sums
    flops = 2 * per_chip * _PRODUCTS[step] * cost(model.config, size).multiply_adds
    rate = chip.operations(config.model.dtype)
    times = {"arithmetic": flops / rate, "memory": (traffic or 0) / chip.bandwidth}
    limit = max(times, key=lambda name: times[name])
    return StepEstimate(
        step=step,
        batch_size=batch_size,
        chips=mesh.size,
        fits=module is not None and memory <= chip.memory,
        memory=memory,
        available=chip.memory,
        largest_batch=_largest(chip.memory, memory, _on_one_device(state), batch_size, mesh.size),
        flops=flops,
        floor=per_chip * moved * jnp.dtype(config.model.dtype).itemsize,
        traffic=traffic,
        collectives=None if module is None else collectives(module),
        limit=None if module is None else limit,
        images_per_second=None if module is None else batch_size / times[limit],
        compile_seconds=took,
    )


def _on_one_device(state: Any) -> float:
    """Adds up the bytes that each device holds of described arrays."""
    return sum(
        leaf.dtype.itemsize * math.prod(leaf.sharding.shard_shape(leaf.shape))
        for leaf in jax.tree.leaves(state)
    )


def memory_of(compiled: jax.stages.Compiled) -> float:
    """Adds up the memory of a program; outputs that take the place of arguments count once."""
    stats = compiled.memory_analysis()
    if stats is None:
        raise ConfigError("this compiler does not say how much memory a program needs")
    return float(
        stats.argument_size_in_bytes
        + stats.output_size_in_bytes
        - stats.alias_size_in_bytes
        + stats.temp_size_in_bytes
        + stats.generated_code_size_in_bytes
    )


def _largest(available: float, memory: float, state: float, batch: int, chips: int) -> int:
    """Scales what is not the state to what is left; a multiple of the chips."""
    each = (memory - state) / batch
    return max(0, int((available - state) / each)) // chips * chips


def _memory_asked_for(error: Exception) -> float:
    """Reads in the compiler's refusal how much memory the program needs."""
    found = re.search(r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm", str(error))
    if found is None:
        raise error
    return float(found[1]) * 1024.0 ** ("KMGT".index(found[2]) + 1)

"""The devices of a run: one mesh with one axis, `data`, over which batches are split."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_jax.data.batches import Batch
from resnet_jax.errors import ConfigError
from resnet_jax.training.config import MeshConfig

DATA_AXIS = "data"


def make_mesh(config: MeshConfig) -> Mesh:
    """Arranges the devices of all processes along the axis `data`.

    Raises:
        ConfigError: More devices are asked for than there are.
    """
    available = jax.devices()
    count = config.devices or len(available)
    if count > len(available):
        raise ConfigError(
            f"mesh.devices={count}: this machine has {len(available)} "
            f"{available[0].platform} devices"
        )
    return jax.make_mesh(
        (count,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=available[:count]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of what every device holds in full: the training state."""
    return NamedSharding(mesh, PartitionSpec())


def split_by_example(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: each device holds its share of the first axis."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_divides(batch_size: int, mesh: Mesh, *, field: str, parts: int = 1) -> None:
    """Checks that each device gets the same number of images, in each of a step's parts.

    Raises:
        ConfigError: It would not; the message names the nearest sizes that divide.
    """
    unit = mesh.size * parts
    if batch_size % unit:
        below = batch_size - batch_size % unit
        choices = [str(size) for size in (below, below + unit) if size]
        times = f" times accumulation={parts}" if parts > 1 else ""
        raise ConfigError(
            f"{field}={batch_size}: does not divide over {mesh.size} devices{times}; "
            f"use {' or '.join(choices)}"
        )


def put_batch(batch: Batch, mesh: Mesh) -> dict[str, Any]:
    """Moves the part of a batch that this process loaded onto its devices.

    Args:
        batch: Arrays whose first axis counts the examples of this process.
        mesh: The devices.

    Returns:
        The global batch, split by example.
    """
    sharding = split_by_example(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }

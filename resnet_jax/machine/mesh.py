"""The devices of a run: one mesh with one axis, `data`, over which batches are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resnet_jax.errors import ConfigError, counted

DATA_AXIS = "data"

PyTree = Any


def make_mesh(devices: int | None = None) -> Mesh:
    """Arranges the devices of all processes along the axis `data`.

    Args:
        devices: How many of them to use; None takes all.

    Raises:
        ConfigError: There are fewer devices.
    """
    return mesh_of(jax.devices(), devices)


def mesh_of(available: Sequence[Any], count: int | None = None) -> Mesh:
    """Arranges devices, or descriptions of devices, along the axis `data`.

    Args:
        available: The devices.
        count: How many of them to use; None takes all.

    Raises:
        ConfigError: There are fewer devices.
    """
    count = count or len(available)
    if count > len(available):
        raise ConfigError(
            f"mesh.devices={count}: this machine has "
            f"{counted(len(available), f'{available[0].platform} device')}"
        )
    return jax.make_mesh(
        (count,), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=available[:count]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds in full."""
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(state: PyTree, mesh: Mesh, *, fsdp: bool) -> PyTree:
    """Chooses the sharding of each array of a training state.

    Args:
        state: Arrays or their shapes, in any structure.
        mesh: The devices.
        fsdp: Split each matrix and kernel along the longest axis that the devices divide. Without
            it, and for everything else, each device holds the whole array.

    Returns:
        A sharding for each array.

    References:
        Zhao et al., PyTorch FSDP; Rajbhandari et al., ZeRO.
    """

    def place(leaf: jax.Array) -> NamedSharding:
        axes = [axis for axis, length in enumerate(leaf.shape) if length % mesh.size == 0]
        if not fsdp or leaf.ndim < 2 or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * longest, DATA_AXIS))

    return jax.tree.map(place, state)


def split_by_example(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: each device holds its share of the first axis."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_divides(batch_size: int, mesh: Mesh, *, field: str, parts: int = 1) -> None:
    """Checks that each device gets the same number of images in each part of a step.

    Raises:
        ConfigError: The batch does not divide; the message names the nearest sizes that do.
    """
    unit = mesh.size * parts
    if batch_size % unit:
        below = batch_size - batch_size % unit
        choices = [str(size) for size in (below, below + unit) if size]
        times = f" times accumulation={parts}" if parts > 1 else ""
        raise ConfigError(
            f"{field}={batch_size}: does not divide over {counted(mesh.size, 'device')}{times}; "
            f"use {' or '.join(choices)}"
        )


def put_batch(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
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

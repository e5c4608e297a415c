"""Several processes that train together: how they meet, and what happens if one dies."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from resnet_jax.errors import ConfigError

# A process that is silent for this long counts as dead; the others end with a message.
_HEARTBEAT_SECONDS = 60

# Words in the errors of a collective, or of the coordination, whose other side is gone.
_SIGNS_OF_LOSS = ("gloo", "nccl", "peer", "connection", "coordination", "deadline", "unavailable")


class PeerError(ConnectionError):
    """Another process of the run ended or cannot be reached."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """Where the processes of a run meet. Leave all three out where JAX finds them by itself.

    Attributes:
        coordinator: HOST:PORT of process 0, the same for all.
        count: How many processes there are.
        number: Which of them this is, from 0.
        timeout: Seconds to wait for the others at the start.
    """

    coordinator: str | None = None
    count: int | None = None
    number: int | None = None
    timeout: int = 300


def join(processes: Processes) -> None:
    """Joins the other processes, before anything is computed.

    With an address it meets them there. Without one it takes what a TPU VM, SLURM, Kubernetes or
    Open MPI says, by JAX's own detection. Without any of these the process runs alone.

    Raises:
        ConfigError: Some of the three are missing, or the others did not come in time.
    """
    given = (processes.coordinator, processes.count, processes.number)
    if any(value is not None for value in given):
        _check(processes)
    elif not _is_in_a_cluster():
        return
    where = processes.coordinator or "the address that the cluster gave"
    try:
        jax.distributed.initialize(
            processes.coordinator,
            processes.count,
            processes.number,
            initialization_timeout=processes.timeout,
            heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
        )
        _connect_devices()
    except Exception as error:  # the service raises several kinds
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"the processes did not meet at {where} within {processes.timeout} s: check that all "
            f"of them run, with the same address and count, and that it can be reached ({reason})"
        ) from error


def _connect_devices() -> None:
    """Adds a number over all devices, which connects them while the processes are together.

    Later one compiles for minutes what another has in its cache. On CPU, connections that are made
    then fail after 30 s; those that stand already wait as long as it takes.
    """
    multihost_utils.sync_global_devices("joined")
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    ones = jax.jit(lambda: jnp.ones(mesh.size), out_shardings=split)()
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=whole)(ones))


@contextlib.contextmanager
def naming_lost_peers() -> Iterator[None]:
    """Turns the errors of a collective whose other side is gone into one that says so.

    Raises:
        PeerError: A process that this one computes with ended or cannot be reached.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        text = " ".join(str(error).split())
        if jax.process_count() == 1 or not any(sign in text.lower() for sign in _SIGNS_OF_LOSS):
            raise
        raise PeerError(
            f"process {jax.process_index()} of {jax.process_count()} lost another one: look for "
            "what ended that one, then start all of them again; they resume at the last "
            f"checkpoint ({text[:200]})"
        ) from error


def _check(processes: Processes) -> None:
    coordinator, count, number = processes.coordinator, processes.count, processes.number
    if coordinator is None or count is None or number is None:
        raise ConfigError(
            f"coordinator={coordinator}, processes={count}, process={number}: "
            "give all three, or none where the cluster tells them"
        )
    if not 0 <= number < count:
        raise ConfigError(f"process={number} is not one of processes={count}; they count from 0")
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"coordinator={coordinator!r} is no address; write HOST:PORT")


def _is_in_a_cluster() -> bool:
    """Asks JAX's own detection, which has no public name, whether there is a cluster."""
    from jax._src.clusters import ClusterEnv

    return any(
        kind.is_env_present() for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method
    )

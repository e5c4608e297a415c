"""Several processes that train together: how they connect, and what happens if one dies."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from resnet_jax.errors import ConfigError

# A process without a heartbeat for this long counts as dead; the others end with a message.
_HEARTBEAT_SECONDS = 60

_LONGEST_MESSAGE = 1000

# Words in the errors of a collective, or of the coordination service, that lost a peer.
_SIGNS_OF_LOSS = ("gloo", "nccl", "peer", "connection", "coordination", "deadline", "unavailable")


class PeerError(ConnectionError):
    """Another process of the run ended or cannot be reached."""


@dataclasses.dataclass(frozen=True)
class Processes:
    """How the processes of a run connect. Leave out the first three if JAX detects them.

    Attributes:
        coordinator: HOST:PORT of process 0, the same for all.
        count: How many processes there are.
        number: The index of this process, from 0.
        timeout: Seconds to wait for the others at the start.
    """

    coordinator: str | None = None
    count: int | None = None
    number: int | None = None
    timeout: int = 300


def join(processes: Processes) -> None:
    """Joins the other processes, before anything is computed.

    The coordinator's address says where. Without one, JAX detects a TPU VM, SLURM, Kubernetes or
    Open MPI. Without any of these, the process runs on its own.

    Raises:
        ConfigError: Only some of the three are given, or the others did not connect in time.
    """
    given = (processes.coordinator, processes.count, processes.number)
    if any(value is not None for value in given):
        _check(processes)
    elif not _is_in_a_cluster():
        return
    where = processes.coordinator or "the address from the cluster"
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
            f"the processes did not connect at {where} within {processes.timeout} s: check that "
            f"all of them run with the same address and count, and can reach the address ({reason})"
        ) from error


def _connect_devices() -> None:
    """Sums a number over all devices, which connects them while all processes are ready.

    Later, one process may compile for minutes what another finds in its cache. On CPU, opening a
    connection then fails after 30 s; connections that are already open wait as long as it takes.
    """
    multihost_utils.sync_global_devices("joined")
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    ones = jax.jit(lambda: jnp.ones(mesh.size), out_shardings=split)()
    jax.block_until_ready(jax.jit(jnp.sum, out_shardings=whole)(ones))


def wait_for_all(name: str) -> None:
    """Waits until all processes call it with the same name; does nothing if there is only one."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def decided_by_first(action: Callable[[], None]) -> None:
    """Carries out an action in the first process, while the others wait for how it ends.

    Raises:
        ConfigError: It raised an error that a user can fix; all processes raise it.
    """
    error: Exception | None = None
    if jax.process_index() == 0:
        try:
            action()
        except (ConfigError, OSError) as raised:
            error = raised
    if jax.process_count() > 1:
        text = str(error or "").encode()[:_LONGEST_MESSAGE]
        message = np.frombuffer(text.ljust(_LONGEST_MESSAGE), np.uint8)
        told = bytes(multihost_utils.broadcast_one_to_all(message)).decode(errors="replace").strip()
        if told and error is None:
            raise ConfigError(told)
    if error is not None:
        raise error


@contextlib.contextmanager
def naming_lost_peers() -> Iterator[None]:
    """Turns the errors of a collective that lost a peer into a `PeerError`.

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
            f"process {jax.process_index()} of {jax.process_count()} lost another one: find out "
            "why that one ended, then start all of them again; they resume from the last "
            f"checkpoint ({text[:200]})"
        ) from error


def _check(processes: Processes) -> None:
    coordinator, count, number = processes.coordinator, processes.count, processes.number
    if coordinator is None or count is None or number is None:
        raise ConfigError(
            f"coordinator={coordinator}, processes={count}, process={number}: "
            "give all three, or none if the cluster provides them"
        )
    if not 0 <= number < count:
        raise ConfigError(
            f"process={number} is not below processes={count}; processes count from 0"
        )
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise ConfigError(f"coordinator={coordinator!r} is not an address; write HOST:PORT")


def _is_in_a_cluster() -> bool:
    """Whether JAX detects a cluster; its detection has no public name."""
    from jax._src.clusters import ClusterEnv

    return any(
        kind.is_env_present() for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method
    )

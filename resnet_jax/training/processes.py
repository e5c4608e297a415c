"""Several processes that train together: how they find each other, and what happens if one dies."""

from __future__ import annotations

import dataclasses

import jax

from resnet_jax.errors import ConfigError

# A process that was not heard of for so long counts as dead, and the others end with a message.
_HEARTBEAT_SECONDS = 60


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
    Open MPI says, by JAX's own detection; where there is none of these the process stays alone.

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
    except Exception as error:  # the service raises several kinds
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"the processes did not meet at {where} within {processes.timeout} s: check that all "
            f"of them run, with the same address and count, and that it can be reached ({reason})"
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

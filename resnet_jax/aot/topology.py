"""Descriptions of accelerators for their compilers, which need no such device."""

from __future__ import annotations

import importlib.util
import math
import os
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from resnet_jax.aot.chips import CHIPS, Chip, gpu_target
from resnet_jax.errors import ConfigError, nearest

# libtpu reads these. Without them it asks the metadata server of a cloud machine what it runs on,
# and a second process that loads it ends.
_LIBTPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# Without a device, XLA can neither try kernels nor call cuBLAS.
_CUDA_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_cublas_fallback": False}


class Topology(NamedTuple):
    """Accelerators to compile for.

    Attributes:
        name: As the user writes it, such as `v5e:4x4`.
        chip: What each of them has.
        devices: Descriptions of devices, for a mesh.
        options: What their compiler has to be told.
    """

    name: str
    chip: Chip
    devices: list[Any]
    options: dict[str, Any]


def describe_topology(name: str) -> Topology:
    """Describes accelerators.

    Args:
        name: A chip, alone for one of it (`v5e`, `h200`), with the shape of a slice (`v5e:4x4`,
            `v5p:2x2x1`) or with a number of GPUs (`h200:8`).

    Raises:
        ConfigError: The chip is unknown, no slice has that shape, or the compiler is not installed.
    """
    kind, colon, shape = name.partition(":")
    if kind not in CHIPS:
        hint = nearest(kind, CHIPS)
        raise ConfigError(f"topology {name!r}: unknown chip {kind!r}.{hint} {_KNOWN}")
    chip = CHIPS[kind]
    if chip.platform == "tpu":
        return Topology(name, chip, _tpu_devices(name, kind, shape), {})
    if colon and not re.fullmatch(r"[1-9]\d*", shape):
        raise ConfigError(f"topology {name!r}: after the colon comes a number of GPUs: {kind}:8")
    devices = _gpu_devices(name, kind, int(shape or 1))
    return Topology(name, chip, devices, _CUDA_OPTIONS)


_KNOWN = f"Known: {', '.join(CHIPS)}; with a shape as in v5e:4x4, or a number of GPUs as in h200:8"


def _tpu_devices(name: str, kind: str, shape: str) -> list[Any]:
    if not importlib.util.find_spec("libtpu"):
        raise ConfigError(
            f"topology {name!r}: the compiler for TPUs is not installed; "
            "pip install 'resnet-jax[aot]', in an environment of its own if JAX runs in this one"
        )
    for variable, value in _LIBTPU_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    flat = kind in ("v5e", "v6e")  # slices have two dimensions
    smallest = "2x2" if flat else "2x2x1"
    if shape and (
        not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)+", shape) or shape.count("x") != 1 + (not flat)
    ):
        raise ConfigError(f"topology {name!r}: write the slice as {kind}:{smallest}")
    # The compiler describes whole hosts. One chip, or fewer than a host has, are a part of one.
    count = math.prod(map(int, shape.split("x"))) if shape else 1
    try:
        devices = topologies.get_topology_desc(
            platform="tpu", topology_name=f"{kind}:{shape if count >= 4 else smallest}"
        ).devices
    except Exception as error:  # libtpu's, of several types
        raise ConfigError(f"topology {name!r}: {' '.join(str(error).split())}") from error
    return list(devices)[:count] if count < 4 else list(devices)


def _gpu_devices(name: str, kind: str, count: int) -> list[Any]:
    if not importlib.util.find_spec("jax_cuda12_plugin"):
        raise ConfigError(
            f"topology {name!r}: the compiler for CUDA is not installed; "
            "pip install 'resnet-jax[cuda]'"
        )
    topology = topologies.get_topology_desc(
        platform="cuda",
        topology_name=kind,
        target_config=gpu_target(kind),
        topology=f"1x1x{count}",
    )
    return list(topology.devices)


def compile_for(topology: Topology, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compiles a lowered function for accelerators.

    Raises:
        jax.errors.JaxRuntimeError: The compiler failed; RESOURCE_EXHAUSTED if memory is short.
    """
    cached = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    # What is compiled for devices that are not here cannot be read from a cache.
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        return lowered.compile(compiler_options=topology.options or None)
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)

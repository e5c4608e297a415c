"""The accelerators that a recipe can be compiled for: what one chip has, as its maker states it."""

from __future__ import annotations

import dataclasses
from typing import Literal

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """An accelerator, as one JAX device.

    Attributes:
        platform: The platform of its compiler.
        memory: Bytes of memory (HBM) that a program may use: all that the compiler offers on a TPU;
            on a GPU three quarters, which is what JAX reserves unless told otherwise.
        bandwidth: Bytes that the memory moves in a second.
        flops: Operations in bfloat16 in a second.
        target: For a GPU, the fields of XLA's `GpuTargetConfigProto` that differ between chips.
    """

    platform: Literal["tpu", "cuda"]
    memory: float
    bandwidth: float
    flops: float
    target: tuple[tuple[str, int | float], ...] = ()

    def operations(self, dtype: str) -> float:
        """Returns the operations in a second of a network that computes in a dtype.

        By default, JAX multiplies float32 in bfloat16 on TPUs, and in TF32 on GPUs, which is half
        as fast as bfloat16.
        """
        return self.flops / 2 if self.platform == "cuda" and dtype == "float32" else self.flops


def _tpu(memory: float, bandwidth: float, flops: float) -> Chip:
    return Chip("tpu", memory * _GIB, bandwidth, flops)


def _gpu(capability: int, bandwidth: float, flops: float, **target: int | float) -> Chip:
    memory = int(target["device_memory_size"])
    target |= {"major": capability, "memory_bandwidth": int(bandwidth)}
    return Chip("cuda", 0.75 * memory, bandwidth, flops, tuple(target.items()))


_HOPPER = {
    "core_count": 132,
    "fpus_per_core": 128,
    "shared_memory_per_core": 233472,
    "shared_memory_per_block_optin": 232448,
    "l2_cache_size": 52428800,
    "clock_rate_ghz": 1.98,
}
CHIPS = {
    "v4": _tpu(32, 1228e9, 275e12),
    "v5e": _tpu(16, 819e9, 197e12),
    "v5p": _tpu(95, 2765e9, 459e12),
    "v6e": _tpu(32, 1640e9, 918e12),
    "tpu7x": _tpu(96, 3685e9, 1153e12),  # half a chip, which has two devices
    "a100": _gpu(
        8,
        2039e9,
        312e12,
        core_count=108,
        fpus_per_core=64,
        shared_memory_per_core=167936,
        shared_memory_per_block_optin=166912,
        l2_cache_size=41943040,
        clock_rate_ghz=1.41,
        device_memory_size=85_100_000_000,
    ),
    "h100": _gpu(9, 3350e9, 989e12, **_HOPPER, device_memory_size=85_000_000_000),
    "h200": _gpu(9, 4800e9, 989e12, **_HOPPER, device_memory_size=151_397_597_184),
}
"""By the name that a topology starts with."""


def gpu_target(name: str) -> str:
    """Writes XLA's description of a GPU, a `GpuTargetConfigProto` as text."""
    fields = dict(CHIPS[name].target)
    capability = f"cuda_compute_capability {{ major: {fields.pop('major')} }}"
    own = "\n".join(f"  {field}: {value}" for field, value in fields.items())
    return f"""gpu_device_info {{
  {capability}
{own}
  threads_per_block_limit: 1024
  threads_per_warp: 32
  threads_per_core_limit: 2048
  shared_memory_per_block: 49152
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "NVIDIA {name.upper()}"
"""

"""Records the devices, system and package versions of a run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from typing import Any

import jax

import resnet_jax
from resnet_jax.errors import ConfigError
from resnet_jax.plain_json import json_text
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.whole_files import write_text

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")

Environment = dict[str, Any]


def describe_environment() -> Environment:
    """Describes the devices of all processes, the system and the versions of packages."""
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    facts = {
        "devices": f"{len(devices)} x {', '.join(kinds)} ({jax.default_backend()})",
        "processes": jax.process_count(),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "resnet_jax": resnet_jax.__version__,
    }
    return facts | {name: importlib.metadata.version(name) for name in _PACKAGES}


def record_environment(files: Workdir, *, start: int) -> None:
    """Records the environment of a run from a step on. Only the first process writes.

    Args:
        files: The folder of the run.
        start: The step. Entries from this step on, which a killed process wrote, are removed. If
            nothing changed, nothing is added.
    """
    if jax.process_index() != 0:
        return
    kept = [entry for entry in read_environments(files) if entry["step"] < start]
    entry = {"step": start, **describe_environment()}
    if not kept or kept[-1] | {"step": start} != entry:
        kept.append(entry)
    write_text(files.environment, "".join(f"{json_text(entry)}\n" for entry in kept))


def read_environments(files: Workdir) -> list[Environment]:
    """Reads the environments of a run; each entry has the `step` at which it began.

    Raises:
        ConfigError: The file is damaged.
    """
    if not files.environment.is_file():
        return []
    try:
        entries = [json.loads(line) for line in files.environment.read_bytes().splitlines()]
    except ValueError:
        entries = [None]
    if not all(isinstance(entry, dict) and isinstance(entry.get("step"), int) for entry in entries):
        raise ConfigError(f"{files.environment} is damaged; remove it")
    return entries

"""Whose folder it is: one run at a time, one process that writes, and always the same run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator

import filelock
import jax

from resnet_jax.data.labels import name_differences
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.plain_json import json_text
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import differing_fields, to_json
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.whole_files import write_text

# Fields that may change when a run resumes: they do not change what it computes.
_FREE = (
    "mesh.",
    "checkpoint.",
    "early_stopping",
    "halve_batch",  # which decides the size before the first step
    "eval_batch_size",
    "log_every_steps",
    "eval_every_epochs",
    "max_skipped",
    "data.data_dir",
    "data.cache_",
    "data.in_memory",
    "data.device_resident",
)
_LOCK = "running.lock"
_HOLDER = "running.json"


@contextlib.contextmanager
def claimed(
    files: Workdir,
    config: TrainConfig,
    inputs: NetworkInputs,
    *,
    extends: TrainConfig | None = None,
) -> Iterator[str | None]:
    """Holds the folder, and gives what `claim` gives, for as long as a run goes on.

    The first process of a run holds it, which is the one that writes. The operating system releases
    the lock of a process that ends, however it ends.

    Args:
        files: The folder.
        config: The run.
        inputs: What its network expects of images, and its class names.
        extends: As for `claim`.

    Raises:
        ConfigError: Another process holds the folder; the message names it. Or as for `claim`.
        OSError: The folder cannot be written.
    """
    if files.address is not None:  # a copy of a folder that its mirror holds
        yield claim(files, config, inputs, extends=extends, shared=False)
        return
    with _locked(files):
        yield claim(files, config, inputs, extends=extends)


@contextlib.contextmanager
def _locked(files: Workdir) -> Iterator[None]:
    if jax.process_index() != 0:
        yield
        return
    root = local_path(files.root)
    root.mkdir(parents=True, exist_ok=True)
    holder = root / _HOLDER
    lock = filelock.FileLock(root / _LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ConfigError(
            f"workdir {files.root} is in use by {_describe_holder(files)}; wait for it, stop it, "
            "or choose another --workdir"
        ) from None
    try:
        write_text(holder, json.dumps({"host": platform.node(), "process": os.getpid()}) + "\n")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def claim(
    files: Workdir,
    config: TrainConfig,
    inputs: NetworkInputs,
    *,
    extends: TrainConfig | None = None,
    shared: bool = True,
) -> str | None:
    """Claims the folder for a run, or checks that it already belongs to this run.

    A run that has not saved a checkpoint has nothing to lose, so its folder is free. Only the first
    process writes, since two writers would replace each other's files.

    Args:
        files: The folder.
        config: The run.
        inputs: What its network expects of images, and its class names.
        extends: The run that this one makes longer, which the folder may hold instead.
        shared: Whether all processes of the run see the same folder.

    Returns:
        What to tell the user, or None.

    Raises:
        ConfigError: The folder belongs to another run, or the dataset has other classes or image
            sizes than when the run began; the message lists what differs.
        OSError: The folder cannot be written.
    """
    remark = None
    if files.has_checkpoints():
        _check_same_run(files, config, extends)
        remark = _check_same_inputs(files, inputs)
    elif files.config.is_file() and _differences(files, config):
        remark = f"{files} held a run without a checkpoint, which this one replaces"
    if jax.process_index() == 0 or not shared:
        files.root.mkdir(parents=True, exist_ok=True)
        write_text(files.config, to_json(config))
        values = inputs.preprocessing() | {"class_names": inputs.class_names}
        text = json_text(values, indent=2) + "\n"
        if not (files.inputs.is_file() and files.inputs.read_text(encoding="utf-8") == text):
            write_text(files.inputs, text)
    return remark


def fixed_differences(held: TrainConfig, config: TrainConfig) -> list[str]:
    """Lists the fields in which two runs differ although no run may change them on the way."""
    return [field for field in differing_fields(held, config) if not field.startswith(_FREE)]


def _check_same_run(files: Workdir, config: TrainConfig, extends: TrainConfig | None) -> None:
    if not files.config.is_file():
        raise ConfigError(
            f"workdir {files} has checkpoints but no {files.config.name}; choose another"
        )
    held = files.read_config()
    if extends is not None and not fixed_differences(held, extends):
        return
    fixed = fixed_differences(held, config)
    if fixed:
        raise ConfigError(
            f"workdir {files} holds a run with another config: {', '.join(fixed)}; "
            "choose another --workdir, or use the old values to resume it"
        )


def _check_same_inputs(files: Workdir, inputs: NetworkInputs) -> str | None:
    if not files.inputs.is_file():
        return (
            f"an older version began this run, without a record of its class names: from now on "
            f"{files.inputs.name} has those of the dataset as it is today"
        )
    old = files.read_inputs()
    difference = name_differences(old.class_names or (), inputs.class_names or ())
    if difference is None and old.size != inputs.size:
        difference = f"the dataset's images have size {inputs.size}, not {old.size}"
    if difference is not None:
        raise ConfigError(
            f"workdir {files} was trained on other data: {difference}; restore them to "
            "resume, or choose another --workdir"
        )
    return None


def _differences(files: Workdir, config: TrainConfig) -> bool:
    """Whether the folder's config is another one, or cannot be read."""
    try:
        return bool(differing_fields(files.read_config(), config))
    except ConfigError:
        return True


def _describe_holder(files: Workdir) -> str:
    try:
        values = json.loads((files.root / _HOLDER).read_text())
        return f"process {values['process']} on {values['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"

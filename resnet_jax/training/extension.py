"""Makes a run longer than it was: what its schedule does then, and what may not change."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import NamedTuple

import jax

from resnet_jax.errors import ConfigError, counted
from resnet_jax.training.cadence import early_end
from resnet_jax.training.recipe.config import ExtensionConfig, TrainConfig
from resnet_jax.training.recipe.overrides import validate
from resnet_jax.training.step.schedules import make_schedule
from resnet_jax.training.workdir.claim import fixed_differences
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.training.workdir.stored import StoredCheckpoints

_LITTLE = 0.01  # of the highest learning rate


class Continued(NamedTuple):
    """A recipe, fitted to the run that its folder holds.

    Attributes:
        config: The recipe, with the extensions of that run and perhaps a new one.
        extends: The recipe of that run, if this one makes it longer.
        note: What that means, for the user.
    """

    config: TrainConfig
    extends: TrainConfig | None = None
    note: str | None = None


def read_extension(text: str, *, begin: int) -> ExtensionConfig:
    """Reads how a longer run goes on.

    Args:
        text: `constant`, `cosine` or `cosine:PEAK`.
        begin: The steps that the run had before.

    Raises:
        ConfigError: It is none of them.
    """
    if text == "constant":
        return ExtensionConfig("constant", begin)
    shape, colon, peak = text.partition(":")
    with contextlib.suppress(ValueError):
        share = float(peak) if colon else 1.0
        if shape == "cosine" and 0 < share <= 1:
            return ExtensionConfig("cosine", begin, share)
    raise ConfigError(
        f"--extend={text}: write constant, cosine, or cosine:PEAK, where PEAK is a fraction of "
        "optimizer.learning_rate, such as cosine:0.1"
    )


def continued(
    config: TrainConfig, files: Workdir, *, steps_per_epoch: int, extend: str | None
) -> Continued:
    """Fits a recipe to the run in its folder, and extends that run if it is to be longer.

    The steps that the run had stay as they were planned, also those that it has not done yet; the
    extension comes after them. So the learning rate stays a function of the step and the recipe.

    Args:
        config: The recipe, with the number of classes and channels.
        files: The folder.
        steps_per_epoch: Number of batches in an epoch.
        extend: For `read_extension`: how the run goes on if it is to be longer.

    Raises:
        ConfigError: There is nothing to extend, the run would be shorter, it would be longer and
            `extend` does not say how it goes on, or it ended early.
    """
    if not (files.has_checkpoints() and files.config.is_file()):
        if extend is not None:
            raise ConfigError(
                f"--extend={extend}: workdir {files} holds no run that has saved a checkpoint;"
                " leave --extend out to start one"
            )
        return Continued(config)
    held = files.read_config()
    if not config.schedule.extensions:
        config = _with_extensions(config, held.schedule.extensions)
    if _differ_otherwise(held, config):
        return Continued(config)  # which the folder will refuse, with all that differs
    before, after = (one.total_steps(steps_per_epoch) for one in (held, config))
    if after < before:
        raise ConfigError(
            f"workdir {files} holds a run of {_length(held, steps_per_epoch)}, and "
            f"{_length(config, steps_per_epoch)} would be less: its learning rate was planned up "
            "to that end; give the old length, or choose another --workdir"
        )
    if extend is None:
        if after > before:
            raise ConfigError(_choices(held, config, files, steps_per_epoch=steps_per_epoch))
        return Continued(config)
    if after > before:
        extensions = (*held.schedule.extensions, read_extension(extend, begin=before))
    else:
        extensions = _with_another_last(held, files, extend, steps_per_epoch=steps_per_epoch)
    longer = validate(_with_extensions(config, extensions))
    if longer == config:
        return Continued(config)  # the command that extended it resumes it as well
    ended = early_end(config, read_records(files))
    if ended is not None:
        raise ConfigError(
            f"the run in workdir {files} ends early, after step {ended:,}: to extend it, "
            "raise early_stopping.patience as well, or give early_stopping=none"
        )
    return Continued(longer, held, _describe(longer, steps_per_epoch=steps_per_epoch))


def _with_extensions(config: TrainConfig, extensions: tuple[ExtensionConfig, ...]) -> TrainConfig:
    schedule = dataclasses.replace(config.schedule, extensions=extensions)
    return dataclasses.replace(config, schedule=schedule)


def _with_another_last(
    held: TrainConfig, files: Workdir, extend: str, *, steps_per_epoch: int
) -> tuple[ExtensionConfig, ...]:
    """Gives the extensions of a run whose last one is to go on as `extend` says."""
    length = _length(held, steps_per_epoch)
    if not held.schedule.extensions:
        raise ConfigError(
            f"--extend={extend}: the run in workdir {files} has {length} already; give it "
            "more epochs, or steps, as well"
        )
    *earlier, last = held.schedule.extensions
    way = read_extension(extend, begin=last.begin)
    if way != last and max(StoredCheckpoints(files.checkpoints).steps(), default=0) > last.begin:
        raise ConfigError(
            f"--extend={extend}: the run in workdir {files} was extended to {length} with "
            f"--extend={_in_words(last)}, and has trained beyond its old end; leave --extend out "
            "to resume it"
        )
    return (*earlier, way)


def _differ_otherwise(held: TrainConfig, config: TrainConfig) -> bool:
    """Whether two runs differ in more than their length."""
    as_long = dataclasses.replace(config, epochs=held.epochs, steps=held.steps)
    return bool(fixed_differences(held, as_long))


def _choices(
    held: TrainConfig, config: TrainConfig, files: Workdir, *, steps_per_epoch: int
) -> str:
    begin = held.total_steps(steps_per_epoch)
    way = read_extension("constant", begin=begin)
    longer = _with_extensions(config, (*held.schedule.extensions, way))
    rate = _rate(longer, begin, steps_per_epoch=steps_per_epoch)
    return (
        f"workdir {files} holds a run of {_length(held, steps_per_epoch)}; for "
        f"{_length(config, steps_per_epoch)}, say how its learning rate goes on: --extend=constant "
        f"(at {rate:.3g}, its last value) or --extend=cosine (anew from "
        f"{config.optimizer.learning_rate:g}; cosine:0.1 begins at a tenth of that)"
    )


def _describe(longer: TrainConfig, *, steps_per_epoch: int) -> str:
    """Says what an extension means for the learning rate."""
    last, highest = longer.schedule.extensions[-1], longer.optimizer.learning_rate
    rate = _rate(longer, last.begin, steps_per_epoch=steps_per_epoch)
    if last.shape == "cosine":
        end = longer.schedule.end * highest
        course = f"falls in a new cosine from {rate:.3g} to {end:.3g}"
    else:
        course = f"stays at {rate:.3g}, its last value"
        if rate < _LITTLE * highest:
            course += (
                f", {rate / highest:.2g} of the highest, so that little will change; "
                "--extend=cosine in its place begins a new cosine"
            )
    return (
        f"extended to {_length(longer, steps_per_epoch)}: after step {last.begin:,} the learning "
        f"rate {course}"
    )


def _rate(config: TrainConfig, step: int, *, steps_per_epoch: int) -> float:
    """Computes the learning rate after a number of steps."""
    schedule = make_schedule(
        config.schedule,
        learning_rate=config.optimizer.learning_rate,
        total_steps=config.total_steps(steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
    )
    return float(jax.jit(schedule)(step))


def _length(config: TrainConfig, steps_per_epoch: int) -> str:
    steps = counted(config.total_steps(steps_per_epoch), "step")
    if config.steps is not None:
        return steps
    return f"{counted(config.epochs, 'epoch')} ({steps})"


def _in_words(extension: ExtensionConfig) -> str:
    if extension.shape == "constant" or extension.peak == 1:
        return extension.shape
    return f"cosine:{extension.peak:g}"

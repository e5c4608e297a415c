"""Learning rates over a run, as functions of the number of updates done so far."""

from __future__ import annotations

import jax
import optax

from resnet_jax.errors import ConfigError, counted, noun_for
from resnet_jax.training.recipe.config import ExtensionConfig, ScheduleConfig


def make_schedule(
    config: ScheduleConfig,
    *,
    learning_rate: float,
    total_steps: int,
    steps_per_epoch: int,
    is_part: bool = False,
) -> optax.Schedule:
    """Builds the learning rate as a function of the number of updates done so far.

    Args:
        config: The shape of the schedule.
        learning_rate: The learning rate at the end of the warm-up, the highest of the run.
        total_steps: Number of steps in the run, with its extensions.
        steps_per_epoch: From `resnet_jax.data.loading.pipeline.steps_per_epoch`.
        is_part: Whether the run may end within the warm-up, as one of a few steps does that tries
            a recipe out.

    Returns:
        A function from a number of updates to a learning rate.

    Raises:
        ConfigError: The warm-up is longer than the run, which is not a part; or an extension does
            not fit the run.

    References:
        Goyal et al., Accurate, Large Minibatch SGD, section 2.2 (linear warm-up).
        Loshchilov and Hutter, SGDR (cosine, and cosines that follow each other). Smith and Topin,
        Super-Convergence (one cycle).
    """
    planned, *later = config.ends(total_steps)
    schedule = _planned_schedule(
        config,
        learning_rate=learning_rate,
        total_steps=planned,
        steps_per_epoch=steps_per_epoch,
        is_part=is_part or bool(later),
    )
    for extension, end in zip(config.extensions, later, strict=True):
        added = _added_schedule(
            extension, config, before=schedule, learning_rate=learning_rate, end=end
        )
        schedule = optax.join_schedules([schedule, added], [extension.begin])
    return schedule


def _added_schedule(
    extension: ExtensionConfig,
    config: ScheduleConfig,
    *,
    before: optax.Schedule,
    learning_rate: float,
    end: int,
) -> optax.Schedule:
    """Builds the learning rate of an extension; it counts updates from there."""
    if extension.shape == "constant":
        # One program for it all; otherwise JAX would compile each operation of the schedule.
        return optax.constant_schedule(float(jax.jit(before)(extension.begin - 1)))
    if extension.peak < config.end:
        raise ConfigError(
            f"the peak of an extension is {extension.peak:g}, below schedule.end={config.end:g}: "
            "give a higher one"
        )
    peak, steps = extension.peak * learning_rate, end - extension.begin
    return optax.cosine_decay_schedule(peak, steps, alpha=config.end / extension.peak)


def _planned_schedule(
    config: ScheduleConfig,
    *,
    learning_rate: float,
    total_steps: int,
    steps_per_epoch: int,
    is_part: bool,
) -> optax.Schedule:
    """Builds the schedule of a run without extensions."""
    warmup = _warmup_steps(
        config, total_steps=total_steps, steps_per_epoch=steps_per_epoch, is_part=is_part
    )
    if warmup > total_steps:
        return _warmup(config, learning_rate=learning_rate, steps=warmup)
    main = _main_schedule(
        config, learning_rate=learning_rate, warmup=warmup, total_steps=total_steps
    )
    if not warmup:
        return main
    return optax.join_schedules(
        [_warmup(config, learning_rate=learning_rate, steps=warmup), main], [warmup]
    )


def _warmup_steps(
    config: ScheduleConfig, *, total_steps: int, steps_per_epoch: int, is_part: bool
) -> int:
    if config.warmup_steps is not None:
        if config.warmup_steps > total_steps and not is_part:
            raise ConfigError(
                f"schedule.warmup_steps={config.warmup_steps}: longer than the run of "
                f"{counted(total_steps, 'step')}; lower it, or raise epochs"
            )
        return config.warmup_steps
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if warmup > total_steps and not is_part:
        epochs = total_steps / steps_per_epoch
        raise ConfigError(
            f"schedule.warmup_epochs={config.warmup_epochs}: longer than the run of "
            f"{epochs:g} {noun_for(epochs, 'epoch')}; lower it, or raise epochs"
        )
    return warmup


def _warmup(config: ScheduleConfig, *, learning_rate: float, steps: int) -> optax.Schedule:
    start = config.warmup_start * learning_rate
    if config.warmup_shape == "constant":
        return optax.constant_schedule(start)
    if config.name == "onecycle":
        return _cosine_rise(start, learning_rate, steps)
    return optax.linear_schedule(start, learning_rate, steps)


def _cosine_rise(start: float, learning_rate: float, steps: int) -> optax.Schedule:
    fall = optax.cosine_decay_schedule(learning_rate - start, steps)
    return lambda count: learning_rate - fall(count)


def _main_schedule(
    config: ScheduleConfig, *, learning_rate: float, warmup: int, total_steps: int
) -> optax.Schedule:
    hidden = warmup if config.from_start else 0
    steps = max(total_steps - warmup + hidden, 1)
    match config.name:
        case "constant":
            return optax.constant_schedule(learning_rate)
        case "step":
            drops = {round(m * total_steps) - warmup: config.drop for m in config.milestones}
            return optax.piecewise_constant_schedule(learning_rate, drops)
        case "linear":
            return _later(
                optax.linear_schedule(learning_rate, config.end * learning_rate, steps), hidden
            )
        case "cosine" | "onecycle":
            return _later(
                optax.cosine_decay_schedule(learning_rate, steps, alpha=config.end), hidden
            )


def _later(schedule: optax.Schedule, steps: int) -> optax.Schedule:
    return lambda count: schedule(count + steps)

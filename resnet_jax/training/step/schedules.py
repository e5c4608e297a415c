"""Learning rates over a run, as functions of the number of updates done so far."""

from __future__ import annotations

import optax

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import ScheduleConfig


def make_schedule(
    config: ScheduleConfig, *, peak: float, total_steps: int, steps_per_epoch: int
) -> optax.Schedule:
    """Builds the learning rate as a function of the number of updates done so far.

    Args:
        config: The shape.
        peak: The rate after the warm-up.
        total_steps: Length of the run.
        steps_per_epoch: From `resnet_jax.data.loading.pipeline.steps_per_epoch`.

    Returns:
        A function from an update count to a rate.

    Raises:
        ConfigError: The warm-up is longer than the run.

    References:
        Goyal et al., Accurate, Large Minibatch SGD, section 2.2 (linear warm-up).
        Loshchilov and Hutter, SGDR (cosine). Smith and Topin, Super-Convergence (one cycle).
    """
    warmup = _warmup_steps(config, total_steps=total_steps, steps_per_epoch=steps_per_epoch)
    main = _main_schedule(config, peak=peak, warmup=warmup, total_steps=total_steps)
    if not warmup:
        return main
    return optax.join_schedules([_warmup(config, peak=peak, steps=warmup), main], [warmup])


def _warmup_steps(config: ScheduleConfig, *, total_steps: int, steps_per_epoch: int) -> int:
    if config.warmup_steps is not None:
        if config.warmup_steps > total_steps:
            raise ConfigError(
                f"schedule.warmup_steps={config.warmup_steps}: longer than the run of "
                f"{total_steps} steps; lower it, or raise epochs"
            )
        return config.warmup_steps
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if warmup > total_steps:
        raise ConfigError(
            f"schedule.warmup_epochs={config.warmup_epochs}: longer than the run of "
            f"{total_steps / steps_per_epoch:g} epochs; lower it, or raise epochs"
        )
    return warmup


def _warmup(config: ScheduleConfig, *, peak: float, steps: int) -> optax.Schedule:
    start = config.warmup_start * peak
    if config.warmup_shape == "constant":
        return optax.constant_schedule(start)
    if config.name == "onecycle":
        return _cosine_rise(start, peak, steps)
    return optax.linear_schedule(start, peak, steps)


def _cosine_rise(start: float, peak: float, steps: int) -> optax.Schedule:
    fall = optax.cosine_decay_schedule(peak - start, steps)
    return lambda count: peak - fall(count)


def _main_schedule(
    config: ScheduleConfig, *, peak: float, warmup: int, total_steps: int
) -> optax.Schedule:
    hidden = warmup if config.from_start else 0
    steps = max(total_steps - warmup + hidden, 1)
    match config.name:
        case "constant":
            return optax.constant_schedule(peak)
        case "step":
            drops = {round(m * total_steps) - warmup: config.drop for m in config.milestones}
            return optax.piecewise_constant_schedule(peak, drops)
        case "linear":
            return _later(optax.linear_schedule(peak, config.end * peak, steps), hidden)
        case "cosine" | "onecycle":
            return _later(optax.cosine_decay_schedule(peak, steps, alpha=config.end), hidden)


def _later(schedule: optax.Schedule, steps: int) -> optax.Schedule:
    return lambda count: schedule(count + steps)

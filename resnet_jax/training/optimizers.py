"""Optimizers and schedules: chains of small optax parts that can be read aloud."""

from __future__ import annotations

from typing import Any

import jax
import optax

from resnet_jax.errors import ConfigError
from resnet_jax.training.config import OptimizerConfig, ScheduleConfig

PyTree = Any


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Builds the chain that turns gradients into updates.

    Clipping comes first. L2 decay joins the gradient before the rule; decoupled decay joins the
    update after the rule and is scaled with it by the learning rate.

    Args:
        config: The update rule.
        schedule: The learning rate of each update.

    Returns:
        An optax transformation; its updates are added to the parameters.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization.
    """
    decay = _decay(config)
    clip = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    before = decay if config.decay_mode == "l2" else []
    after = decay if config.decay_mode == "decoupled" else []
    return optax.chain(
        *clip, *before, _rule(config), *after, optax.scale_by_learning_rate(schedule)
    )


def make_schedule(
    config: ScheduleConfig, *, peak: float, total_steps: int, steps_per_epoch: int
) -> optax.Schedule:
    """Builds the learning rate as a function of the number of updates done so far.

    Args:
        config: The shape.
        peak: The rate after the warm-up.
        total_steps: Length of the run.
        steps_per_epoch: From `resnet_jax.data.pipeline.steps_per_epoch`.

    Returns:
        A function from an update count to a rate.

    Raises:
        ConfigError: The warm-up is longer than the run.

    References:
        Goyal et al., Accurate, Large Minibatch SGD, section 2.2 (linear warm-up).
        Loshchilov and Hutter, SGDR (cosine). Smith and Topin, Super-Convergence (one cycle).
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if warmup > total_steps:
        raise ConfigError(
            f"schedule.warmup_epochs={config.warmup_epochs}: longer than the run of "
            f"{total_steps / steps_per_epoch:g} epochs; lower it, or raise epochs"
        )
    main = _main_schedule(config, peak=peak, warmup=warmup, total_steps=total_steps)
    if not warmup:
        return main
    return optax.join_schedules([_warmup(config, peak=peak, steps=warmup), main], [warmup])


def decays_matrices(params: PyTree) -> PyTree:
    """Masks the parameters with more than one dimension: no BatchNorm, no bias."""
    return jax.tree.map(lambda param: param.ndim > 1, params)


def _decay(config: OptimizerConfig) -> list[optax.GradientTransformation]:
    if not config.weight_decay:
        return []
    mask = decays_matrices if config.decay_on == "matrices" else None
    return [optax.add_decayed_weights(config.weight_decay, mask=mask)]


def _rule(config: OptimizerConfig) -> optax.GradientTransformation:
    if config.name == "adamw":
        first, second = config.betas
        return optax.scale_by_adam(b1=first, b2=second, eps=config.epsilon)
    if not config.momentum:
        return optax.identity()
    return optax.trace(decay=config.momentum, nesterov=config.nesterov)


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
    steps = max(total_steps - warmup, 1)
    match config.name:
        case "constant":
            return optax.constant_schedule(peak)
        case "step":
            drops = {round(m * total_steps) - warmup: config.drop for m in config.milestones}
            return optax.piecewise_constant_schedule(peak, drops)
        case "linear":
            return optax.linear_schedule(peak, config.end * peak, steps)
        case "cosine" | "onecycle":
            return optax.cosine_decay_schedule(peak, steps, alpha=config.end)

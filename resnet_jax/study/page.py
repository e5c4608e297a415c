"""Writes the page of a study, and its numbers."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
from typing import Any

import jax

import resnet_jax
from resnet_jax.plain_json import json_text
from resnet_jax.study.claims.claim import Claim, Study
from resnet_jax.study.claims.degradation import plain_gets_worse, residual_gets_better
from resnet_jax.study.plan import name_of_data
from resnet_jax.whole_files import write_text


def write_page(claims: list[Claim], subject: Study, path: pathlib.Path) -> None:
    """Writes the page: figure 1 of the paper with its explanation, then claim by claim.

    Args:
        claims: The findings, those about the errors first.
        subject: The study.
        path: A Markdown file; the figures are in the same folder.
    """
    plan = subject.plan
    parts = [f"# The study on {name_of_data(plan.data)}", *_figures(claims[0])]
    parts += [_explain(subject), _about(subject)]
    for claim in claims:
        parts += [f"## {claim.heading}", claim.text]
        parts += [] if claim is claims[0] else _figures(claim)
    missing = [f"- {line}" for claim in claims for line in claim.missing]
    if missing:
        parts += ["## What this run does not show", "\n".join(missing)]
    write_text(path, "\n\n".join(parts) + "\n")


def _figures(claim: Claim) -> list[str]:
    return [f"![{caption}]({file})\n\n*{caption}*" for file, caption in claim.figures.items()]


def _explain(subject: Study) -> str:
    """Explains the first figure to a reader of the notes, with their Chinese terms."""
    shallow, deep = subject.depths[:2]
    errors = {
        name: f"{trained.training.train_error:.2%}" for name, trained in subject.trained.items()
    }
    plain = f"from {errors[f'plain{shallow}']} to {errors[f'plain{deep}']}"
    residual = f"from {errors[f'resnet{shallow}']} to {errors[f'resnet{deep}']}"
    degrades = (
        "It rises, although the deeper network could do at least as well. This is the degradation "
        "problem (退化问题). It is not overfitting (过拟合), which lowers the training error."
        if plain_gets_worse(subject)
        else "This run does not show the degradation problem (退化问题), a training error that "
        "rises with depth."
    )
    return (
        f"More layers should not hurt: {deep} layers can compute whatever {shallow} layers do, if "
        "the others learn the identity mapping (恒等映射) h(x) = x. Between plain networks of "
        f"{shallow} and {deep} layers the training error (训练误差) goes {plain}. {degrades} "
        "A block of a residual network (残差网络) computes h(x) = f(x) + x. Its layers learn the "
        "residual (残差) f(x), the shortcut (弯线, identity mapping) adds x, and f(x) = 0 already "
        f"gives the identity mapping. Between residual networks of {shallow} and {deep} layers the "
        f"training error goes {residual}. {_improvement(subject)}"
    )


def _improvement(subject: Study) -> str:
    shallow, deep = (subject.trainings(f"resnet{depth}") for depth in subject.depths[:2])
    if residual_gets_better(subject):
        seeds = " with each of its seeds" if len(deep) > 1 else ""
        return f"The deeper network is the better one{seeds}."
    if not any(training.train_error for training in (*shallow, *deep)):
        return "Both have learned all training images."
    seeds = " with every seed" if len(deep) > 1 else ""
    return f"The deeper network is not the better one{seeds}."


def _about(subject: Study) -> str:
    plan, recipe = subject.plan, subject.plan.recipe
    augment = recipe.augment
    changes = (
        f"images padded by {augment.pad_crop} and cropped at random, mirrored with probability "
        f"{augment.flip:g}"
        if augment.pad_crop
        else "images unchanged"
    )
    optimizer, schedule = recipe.optimizer, recipe.schedule
    size = f" Images of {plan.image_size} x {plan.image_size} pixels." if plan.image_size else ""
    width = recipe.model.width
    narrow = "" if width == 1 else f" The widths are {width:g} times those of the paper."
    seeds = 1 + len({training.seed for training in subject.repeats})
    chance = (
        f"One seed, {plan.seed}, so that small differences say little."
        if seeds == 1
        else f"{seeds} seeds for residual {plan.shallow} and {plan.deep}, one for the others; "
        f"claims 2 to 4 are about seed {plan.seed}."
    )
    return (
        f"Every network had the same recipe: {recipe.epochs} epochs of "
        f"`{recipe.data.train_split}`, batches of {recipe.batch_size}, SGD with momentum "
        f"{optimizer.momentum:g}, learning rate {optimizer.learning_rate:g} with a "
        f"{schedule.name} schedule (warm-up: {schedule.warmup_epochs:g} of the epochs), weight "
        f"decay {optimizer.weight_decay:g} on all parameters, {changes}. Test split "
        f"`{recipe.data.test_split}`.{size}{narrow} {chance} Measured on {_device()} with jax "
        f"{jax.__version__}."
    )


def write_results(claims: list[Claim], subject: Study, path: pathlib.Path) -> None:
    """Writes all numbers as JSON."""
    trainings = [trained.training for trained in subject.trained.values()]
    results: dict[str, Any] = {
        "version": resnet_jax.__version__,
        "jax": jax.__version__,
        "device": _device(),
        "seconds": sum(training.seconds for training in (*trainings, *subject.repeats)),
        "plan": {**dataclasses.asdict(subject.plan), "data": name_of_data(subject.plan.data)},
        **{claim.name: claim.numbers for claim in claims},
    }
    write_text(path, json_text(results, indent=1) + "\n")


def _device() -> str:
    first, *others = jax.devices()
    kind = platform.machine() if first.platform == "cpu" else first.device_kind
    return f"{1 + len(others)} {first.platform} device{'s' if others else ''} ({kind})"

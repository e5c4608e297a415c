"""Runs a study: trains, measures the four claims, writes figures, numbers and a page."""

from __future__ import annotations

import dataclasses
import pathlib
import platform
import time
from typing import Any

import jax

import resnet_jax
from resnet_jax.plain_json import json_text
from resnet_jax.study.claims import Claim, Study
from resnet_jax.study.containment import study_containment
from resnet_jax.study.degradation import study_degradation
from resnet_jax.study.networks import Say, obtain
from resnet_jax.study.plan import Plan
from resnet_jax.study.reading import Reader, look_at
from resnet_jax.study.responses import study_responses
from resnet_jax.study.sensitivity import study_sensitivity
from resnet_jax.whole_files import write_text

CLAIMS = (study_degradation, study_containment, study_responses, study_sensitivity)


def run_study(plan: Plan, out: pathlib.Path, *, say: Say) -> list[Claim]:
    """Runs a study; reuses networks in `out` that an earlier call with the same plan trained.

    Args:
        plan: What to train.
        out: Folder of all results: `summary.md`, `results.json`, the figures as SVG
            and the networks.
        say: Reports a line.

    Returns:
        The claims in the order of the notes.
    """
    start = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    trained = {name: obtain(plan.config(name), out / "networks", say=say) for name in plan.networks}
    readers = {name: Reader(network) for name, network in trained.items()}
    images = look_at(plan.recipe, plan.probe_images)
    subject = Study(plan, trained, readers, images, say)
    claims = []
    for study_claim in CLAIMS:
        claims.append(study_claim(subject, out))
        say(f"{claims[-1].name}: done after {time.perf_counter() - start:.0f} s")
    seconds = time.perf_counter() - start
    _write_results(claims, plan, seconds, out / "results.json")
    write_text(out / "summary.md", summary(claims, plan))
    return claims


def summary(claims: list[Claim], plan: Plan) -> str:
    """Writes the page.

    Args:
        claims: The findings.
        plan: The study.

    Returns:
        Markdown; its figures are in the same folder.
    """
    parts = [f"# The study on {_name_of_data(plan)}", _about(plan)]
    for claim in claims:
        parts += [f"## {claim.heading}", claim.text]
        for file, caption in claim.figures.items():
            parts.append(f"![{caption}]({file})\n\n*{caption}*")
    return "\n\n".join(parts) + "\n"


def _about(plan: Plan) -> str:
    recipe = plan.recipe
    augment = recipe.augment
    changes = (
        f"images padded by {augment.pad_crop} and cropped at random, mirrored with probability "
        f"{augment.flip:g}"
        if augment.pad_crop
        else "images unchanged"
    )
    optimizer, schedule = recipe.optimizer, recipe.schedule
    return (
        f"Every network had the same recipe: {recipe.epochs} epochs of "
        f"`{recipe.data.train_split}`, batches of {recipe.batch_size}, SGD with momentum "
        f"{optimizer.momentum:g}, learning rate {optimizer.learning_rate:g} with a "
        f"{schedule.name} schedule (warm-up: {schedule.warmup_epochs:g} of the epochs), weight "
        f"decay {optimizer.weight_decay:g} on all parameters, {changes}. Test split "
        f"`{recipe.data.test_split}`. One seed, {recipe.seed}, so that small differences say "
        f"little. Measured on {_device()} with jax {jax.__version__}."
    )


def _write_results(claims: list[Claim], plan: Plan, seconds: float, path: pathlib.Path) -> None:
    results: dict[str, Any] = {
        "version": resnet_jax.__version__,
        "jax": jax.__version__,
        "device": _device(),
        "seconds": seconds,
        "plan": _plain(plan),
        **{claim.name: claim.numbers for claim in claims},
    }
    write_text(path, json_text(results, indent=1) + "\n")


def _plain(plan: Plan) -> dict[str, Any]:
    """Returns the plan without the folders of this machine."""
    values = dataclasses.asdict(plan)
    values["recipe"]["data"]["name"] = _name_of_data(plan)
    values["recipe"]["data"].pop("data_dir")
    return values


def _name_of_data(plan: Plan) -> str:
    kind, colon, path = plan.recipe.data.name.partition(":")
    return pathlib.Path(path).name if colon and kind in ("zip", "folder") else plan.recipe.data.name


def _device() -> str:
    first, *others = jax.devices()
    kind = platform.machine() if first.platform == "cpu" else first.device_kind
    return f"{1 + len(others)} {first.platform} device{'s' if others else ''} ({kind})"

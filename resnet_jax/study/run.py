"""Runs a study: trains its networks, and measures the four claims."""

from __future__ import annotations

import pathlib

from rich.console import Console

from resnet_jax.machine.signals import Interruption
from resnet_jax.study.claims.claim import Claim, Study
from resnet_jax.study.claims.containment import study_containment
from resnet_jax.study.claims.degradation import study_degradation
from resnet_jax.study.claims.responses import study_responses
from resnet_jax.study.claims.sensitivity import study_sensitivity
from resnet_jax.study.epochs import obtain
from resnet_jax.study.images import open_sources
from resnet_jax.study.networks import TrainedNetwork, Training
from resnet_jax.study.page import write_page, write_results
from resnet_jax.study.plan import Plan, StudyRun
from resnet_jax.study.progress import StudyProgress
from resnet_jax.study.reading import Reader, look_at

CLAIMS = (study_degradation, study_containment, study_responses, study_sensitivity)


def run_study(plan: Plan, out: pathlib.Path, *, console: Console) -> list[Claim]:
    """Runs a study; trainings in `out` that an earlier call with the same plan began go on.

    Args:
        plan: What to train.
        out: Folder of all results: `summary.md`, `results.json`, the figures as SVG
            and the networks.
        console: Where to report.

    Returns:
        The claims in the order of the notes.

    Raises:
        ConfigError: The plan cannot be carried out, or the folder holds another study.
        InterruptedStudyError: A signal came; all whole epochs are kept.
    """
    sources = open_sources(plan)
    runs = (*plan.runs, *plan.repeats)
    progress = StudyProgress(runs, plan.recipe.epochs, console)
    with Interruption() as interruption, progress.showing():

        def train(run: StudyRun) -> TrainedNetwork:
            return obtain(
                plan.config(run),
                run,
                out / "networks" / run.name,
                sources=sources,
                progress=progress,
                interruption=interruption,
            )

        def study(repeats: tuple[Training, ...]) -> Study:
            readers = {name: Reader(network) for name, network in trained.items()}
            images = look_at(plan.recipe, sources, plan.probe_images)
            return Study(plan, trained, repeats, readers, images, progress.say)

        trained = {run.network: train(run) for run in plan.runs}
        repeats: list[Training] = []
        for run in plan.repeats:
            if not repeats:  # the page is there while the other seeds are trained
                measure(study(()), out)
            repeats.append(train(run).training)
    return measure(study(tuple(repeats)), out)


def measure(subject: Study, out: pathlib.Path) -> list[Claim]:
    """Measures the four claims, and writes figures, numbers and the page."""
    claims = []
    for study_claim in CLAIMS:
        claims.append(study_claim(subject, out))
        subject.say(f"{claims[-1].name}: measured")
    write_results(claims, subject, out / "results.json")
    write_page(claims, subject, out / "summary.md")
    return claims

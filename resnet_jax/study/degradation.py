"""Claim 1: deeper plain networks get worse in training error too; residual ones do not.

He et al. 2015, figures 1 and 6, https://arxiv.org/abs/1512.03385.
"""

from __future__ import annotations

import pathlib
from typing import Any

from resnet_jax.study.claims import Claim, Study, table
from resnet_jax.study.figures import figure, line_style, title
from resnet_jax.study.networks import Training


def study_degradation(subject: Study, out: pathlib.Path) -> Claim:
    """Compares the training and test errors of all networks.

    Args:
        subject: The trained networks.
        out: Folder of the figure.
    """
    trainings = {name: trained.training for name, trained in subject.trained.items()}
    _draw(trainings, subject.depths, out / "degradation.svg")
    plain = _gaps(trainings, "plain", subject)
    residual = _gaps(trainings, "resnet", subject)
    rows = [
        [
            title(name),
            f"{training.epochs[-1].train_loss:.4f}",
            f"{training.train_error:.2%}",
            f"{training.test_error:.2%}",
            f"{training.train_count} and {training.test_count}",
        ]
        for name, training in trainings.items()
    ]
    heading = ["network", "training loss", "training error", "test error", "images"]
    return Claim(
        name="degradation",
        heading="1. Deeper plain networks get worse in training error too (退化问题)",
        text=_verdict(plain, residual, subject) + "\n\n" + table(heading, rows) + "\n\n" + _NOTE,
        figures={
            "degradation.svg": "Errors over the epochs. Left: share of the training images that "
            "were wrong in the steps of an epoch. Right: share of the test images that are wrong."
        },
        numbers={
            "networks": {name: _numbers(training) for name, training in trainings.items()},
            "plain_gaps": plain,
            "residual_gaps": residual,
        },
    )


_NOTE = (
    "Training loss: mean over the steps of the last epoch. Training error: an evaluation of the "
    "whole training split at the end, so that both errors are measured alike."
)


def _gaps(trainings: dict[str, Training], kind: str, subject: Study) -> dict[str, dict[str, float]]:
    """Subtracts the shallow network's errors and loss from those of each deeper one, by layers."""
    shallow, *deeper = (depth for depth in subject.depths if f"{kind}{depth}" in trainings)
    base = trainings[f"{kind}{shallow}"]
    gaps = {}
    for depth in deeper:
        deep = trainings[f"{kind}{depth}"]
        gaps[str(depth)] = {
            "train_loss": deep.epochs[-1].train_loss - base.epochs[-1].train_loss,
            "train_error": deep.train_error - base.train_error,
            "test_error": deep.test_error - base.test_error,
        }
    return gaps


def _verdict(
    plain: dict[str, dict[str, float]], residual: dict[str, dict[str, float]], subject: Study
) -> str:
    ((deep, changes),) = plain.items()
    most = max(gap["train_error"] for gap in residual.values())
    worse = changes["train_loss"] > 0 and changes["train_error"] > max(most, 0)
    opening = "The effect shows" if worse else "The effect does not show in this run"
    others = ", and by ".join(f"{_changes(gap)} to {depth}" for depth, gap in residual.items())
    return (
        f"{opening}. From {subject.depths[0]} to {deep} layers the plain network's training error "
        f"changes by {_changes(changes)}; the residual network's by {others} layers."
    )


def _changes(gap: dict[str, float]) -> str:
    return (
        f"{100 * gap['train_error']:+.2f} points (its training loss by {gap['train_loss']:+.4f}, "
        f"its test error by {100 * gap['test_error']:+.2f} points)"
    )


def _numbers(training: Training) -> dict[str, Any]:
    return {
        "train_error": training.train_error,
        "test_error": training.test_error,
        "train_count": training.train_count,
        "test_count": training.test_count,
        "steps": training.steps,
        "seconds": training.seconds,
        "epochs": [epoch.__dict__ for epoch in training.epochs],
    }


def _draw(trainings: dict[str, Training], depths: tuple[int, ...], path: pathlib.Path) -> None:
    with figure(path, panels=2) as (left, right):
        for axes, quantity in ((left, "train_error"), (right, "test_error")):
            for name, training in trainings.items():
                errors = [100 * getattr(epoch, quantity) for epoch in training.epochs]
                axes.plot(range(1, len(errors) + 1), errors, **line_style(name, depths))
            kind = "training" if quantity == "train_error" else "test"
            axes.set(xlabel="epoch", ylabel=f"{kind} error (%)", ylim=(0, None))
        right.legend()

"""Claim 1: deeper plain networks get worse in training error too; residual ones do not.

He et al. 2015, figures 1 and 6, https://arxiv.org/abs/1512.03385.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

from resnet_jax.study.claims.claim import Claim, Study, table
from resnet_jax.study.figures import figure, line_style, title
from resnet_jax.study.networks import Training


def study_degradation(subject: Study, out: pathlib.Path) -> Claim:
    """Compares the training and test errors of all networks.

    Args:
        subject: The trained networks.
        out: Folder of the figure.
    """
    trainings = {name: trained.training for name, trained in subject.trained.items()}
    _draw(subject, out / "degradation.svg")
    text = [_verdict(subject), _table(trainings), _NOTE]
    if subject.repeats:
        text += [_spread(subject)]
    return Claim(
        name="degradation",
        heading="1. Deeper plain networks get worse in training error too (退化问题)",
        text="\n\n".join(text),
        figures={
            "degradation.svg": "Errors over the epochs, as in figures 1 and 6 of He et al. Left: "
            "share of the training images that were wrong in the steps of an epoch. Right: share "
            "of the test images that are wrong. Thin lines: other seeds."
            if subject.repeats
            else "Errors over the epochs, as in figures 1 and 6 of He et al. Left: share of the "
            "training images that were wrong in the steps of an epoch. Right: share of the test "
            "images that are wrong."
        },
        numbers={
            "networks": {name: _numbers(training) for name, training in trainings.items()},
            "repeats": [
                {"network": training.network, "seed": training.seed, **_numbers(training)}
                for training in subject.repeats
            ],
        },
        missing=_missing(subject),
    )


_NOTE = (
    "Training loss: mean over the steps of the last epoch. Training error: an evaluation of the "
    "whole training split at the end, so that both errors are measured alike."
)


def plain_gets_worse(subject: Study) -> bool:
    """Whether the deep plain network has the higher training error, and the higher loss."""
    shallow, deep = (subject.network("plain", depth).training for depth in subject.depths[:2])
    return (
        deep.train_error > shallow.train_error
        and deep.epochs[-1].train_loss > shallow.epochs[-1].train_loss
    )


def residual_gets_better(subject: Study) -> bool:
    """Whether the deep residual network has the lower training error, with every pair of seeds."""
    shallow, deep = (
        [training.train_error for training in subject.trainings(f"resnet{depth}")]
        for depth in subject.depths[:2]
    )
    return max(deep) < min(shallow)


def _missing(subject: Study) -> tuple[str, ...]:
    shallow, deep = subject.depths[:2]
    lines = []
    if not plain_gets_worse(subject):
        lines.append(f"Plain {deep} is not worse than plain {shallow} in training error and loss.")
    if not residual_gets_better(subject):
        lines.append(f"Residual {deep} is not ahead of residual {shallow} in training error.")
    return tuple(lines)


def _table(trainings: dict[str, Training]) -> str:
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
    return table(heading, rows)


def _spread(subject: Study) -> str:
    """Tabulates the networks that were trained with several seeds."""
    rows = []
    for network in subject.trained:
        trainings = subject.trainings(network)
        if len(trainings) > 1:
            seeds = ", ".join(str(training.seed) for training in trainings)
            rows.append([title(network), seeds, *_ranges(trainings)])
    heading = ["network", "seeds", "training error", "test error"]
    return f"With several seeds, mean (lowest to highest):\n\n{table(heading, rows)}"


def _ranges(trainings: list[Training]) -> list[str]:
    kinds = (
        [training.train_error for training in trainings],
        [training.test_error for training in trainings],
    )
    return [f"{np.mean(kind):.2%} ({min(kind):.2%} to {max(kind):.2%})" for kind in kinds]


def _verdict(subject: Study) -> str:
    plain, residual = (_gaps(subject, kind) for kind in ("plain", "resnet"))
    ((deep, changes),) = plain.items()
    opening = (
        "The effect shows" if plain_gets_worse(subject) else "The effect does not show in this run"
    )
    others = ", and by ".join(f"{_changes(gap)} to {depth}" for depth, gap in residual.items())
    return (
        f"{opening}. From {subject.depths[0]} to {deep} layers the plain network's training error "
        f"changes by {_changes(changes)}; the residual network's by {others} layers."
    )


def _gaps(subject: Study, kind: str) -> dict[int, dict[str, float]]:
    """Subtracts the shallow network's errors and loss from those of each deeper one, by layers."""
    shallow, *deeper = (depth for depth in subject.depths if f"{kind}{depth}" in subject.trained)
    base = subject.network(kind, shallow).training
    gaps = {}
    for depth in deeper:
        deep = subject.network(kind, depth).training
        gaps[depth] = {
            "train_loss": deep.epochs[-1].train_loss - base.epochs[-1].train_loss,
            "train_error": deep.train_error - base.train_error,
            "test_error": deep.test_error - base.test_error,
        }
    return gaps


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
        "epochs": [dataclasses.asdict(epoch) for epoch in training.epochs],
    }


def _draw(subject: Study, path: pathlib.Path) -> None:
    with figure(path, panels=2) as (left, right):
        for axes, quantity in ((left, "train_error"), (right, "test_error")):
            for name in subject.trained:
                for training in subject.trainings(name):
                    style = line_style(name, subject.depths)
                    if training in subject.repeats:
                        style |= {"linewidth": 0.8, "alpha": 0.5, "label": None}
                    errors = [100 * getattr(epoch, quantity) for epoch in training.epochs]
                    axes.plot(range(1, len(errors) + 1), errors, **style)
            kind = "training" if quantity == "train_error" else "test"
            axes.set(xlabel="epoch", ylabel=f"{kind} error (%)", ylim=(0, None))
        right.legend()

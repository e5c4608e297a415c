"""Claim 4: the residual is more sensitive to the target.

The notes' example: to move an output from 5.1 to 5.2, a plain mapping g changes by 2%, and the
residual f of h(x) = f(x) + x, x = 5, by 100%. The study measures the gradients of the convolutions,
layer by layer, and how much larger than its branch the sum of a trained residual block is. By this
factor, the branch sees a relative change of the target magnified.
"""

from __future__ import annotations

import pathlib

import numpy as np
from numpy.typing import NDArray

from resnet_jax.study.claims.claim import Claim, Study, table
from resnet_jax.study.figures import figure, line_style, title
from resnet_jax.study.networks import Training

_FACTOR_OF_THE_NOTES = 51  # 5.1 / 0.1

_TIMES = {
    "initial": "at initialisation",
    "first epoch": "first epoch",
    "last epoch": "last epoch",
}


def study_sensitivity(subject: Study, out: pathlib.Path) -> Claim:
    """Compares gradient norms by depth, and measures the magnification in residual blocks.

    Args:
        subject: The trained networks.
        out: Folder of the figures.
    """
    trainings = {name: trained.training for name, trained in subject.trained.items()}
    magnified = {
        f"resnet{depth}": _magnification(subject, f"resnet{depth}") for depth in subject.depths
    }
    _draw_gradients(trainings, subject.depths, out / "gradients.svg")
    _draw_magnification(magnified, subject.depths, out / "sensitivity.svg")
    return Claim(
        name="sensitivity",
        heading="4. The residual is more sensitive to the target (5.1 to 5.2)",
        text=_text(trainings, magnified, subject),
        figures={
            "gradients.svg": "Euclidean norm of the gradient of each 3x3 convolution's kernel, "
            "from the image (left) to the classifier (right): of the first batch, and as means "
            "over the steps of the first and the last epoch.",
            "sensitivity.svg": "Root mean square of a residual block's sum over that of its "
            f"branch, for {len(subject.images.batches[0].labels)} test images: by this factor a "
            "relative change of the target is larger for the branch. The example of the notes "
            f"would be {_FACTOR_OF_THE_NOTES}.",
        },
        numbers={
            "gradients": {name: item.gradients for name, item in trainings.items()},
            "sum_over_branch": {name: values.tolist() for name, values in magnified.items()},
        },
        missing=_missing(trainings, magnified, subject),
    )


def _magnification(subject: Study, name: str) -> NDArray[np.float32]:
    pixels = subject.images.batches[0].pixels
    reading = subject.readers[name].read(subject.trained[name].variables, pixels)
    return np.asarray(reading.sums) / np.maximum(np.asarray(reading.branches), 1e-12)


def _slope(norms: list[float]) -> float:
    """Divides the mean gradient of the first tenth of the layers by that of the last tenth."""
    tenth = max(len(norms) // 10, 1)
    return float(np.mean(norms[:tenth]) / np.maximum(np.mean(norms[-tenth:]), 1e-12))


def _text(
    trainings: dict[str, Training], magnified: dict[str, NDArray[np.float32]], subject: Study
) -> str:
    rows = [
        [title(name), *(f"{_slope(training.gradients[time]):.3g}" for time in _TIMES)]
        for name, training in trainings.items()
    ]
    deep = subject.depths[1]
    plain, residual = _initial_slopes(trainings, deep)
    changes = ", ".join(
        f"{np.median(values):.2f} at {name.removeprefix('resnet')} layers"
        for name, values in magnified.items()
    )
    return (
        f"At initialisation the first tenth of plain {deep}'s layers gets {plain:.3g} times the "
        f"gradient of the last tenth; in residual {deep} it is {residual:.3g} times.\n\n"
        "Gradient norm of the first tenth of the layers over that of the last tenth:\n\n"
        f"{table(['network', *_TIMES.values()], rows)}\n\n"
        "A relative change of a block's target is magnified for its branch by the size of the sum "
        f"over that of the branch. Its median over the blocks is {changes}. By the chain rule the "
        "gradient of the loss with respect to the sum and to the branch is the same; it is the "
        "relative change that differs, as in the example of the notes."
    )


def _initial_slopes(trainings: dict[str, Training], depth: int) -> list[float]:
    """Returns the slope at initialisation of the plain and of the residual network."""
    networks = (f"plain{depth}", f"resnet{depth}")
    return [_slope(trainings[network].gradients["initial"]) for network in networks]


def _missing(
    trainings: dict[str, Training], magnified: dict[str, NDArray[np.float32]], subject: Study
) -> tuple[str, ...]:
    deep = subject.depths[1]
    plain, residual = _initial_slopes(trainings, deep)
    most = max(float(values.max()) for values in magnified.values())
    lines = []
    if not 1 <= residual < plain:
        lines.append(
            f"The gradients at initialisation are not more even in residual {deep} than in plain "
            f"{deep}."
        )
    if most < _FACTOR_OF_THE_NOTES:
        lines.append(
            f"No block magnifies a relative change by {_FACTOR_OF_THE_NOTES}, as in the example of "
            f"the notes; the most is {most:.3g}."
        )
    return tuple(lines)


def _draw_gradients(
    trainings: dict[str, Training], depths: tuple[int, ...], path: pathlib.Path
) -> None:
    with figure(path, panels=3) as panels:
        for axes, (time, name_of_time) in zip(panels, _TIMES.items(), strict=True):
            for name, training in trainings.items():
                norms = training.gradients[time]
                axes.plot(np.linspace(0, 1, len(norms)), norms, **line_style(name, depths))
            axes.set(xlabel="depth (share of the layers)", yscale="log", title=name_of_time)
        panels[0].set_ylabel("norm of the kernel's gradient")
        panels[-1].legend()


def _draw_magnification(
    magnified: dict[str, NDArray[np.float32]], depths: tuple[int, ...], path: pathlib.Path
) -> None:
    with figure(path, panels=1) as (axes,):
        for name, values in magnified.items():
            places = (np.arange(len(values)) + 1) / len(values)
            axes.plot(places, values, **line_style(name, depths))
        axes.set(xlabel="depth (share of the blocks)", ylabel="sum / branch", yscale="log")
        axes.legend()

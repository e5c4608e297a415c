"""Claim 3: residual branches are small, and a residual network can do without one of its blocks.

He et al. 2015, figure 7, https://arxiv.org/abs/1512.03385; Veit et al. 2016, figure 3,
https://arxiv.org/abs/1605.06431.
"""

from __future__ import annotations

import itertools
import pathlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_jax.study.claims.claim import Claim, Study, table
from resnet_jax.study.figures import colour, figure, line_style, title

# With one seed, a smaller difference between medians means nothing.
_CLEARLY = 0.95


class _Lesions(NamedTuple):
    """The errors of a network without one of its blocks.

    Attributes:
        whole: Share of the images that are misclassified with all blocks.
        without: [blocks] The share without each block.
        changes_shape: The numbers of the blocks that halve the resolution.
    """

    whole: float
    without: list[float]
    changes_shape: list[int]

    @property
    def inner(self) -> list[float]:
        """The shares without the blocks that keep the shape."""
        return [
            error for number, error in enumerate(self.without) if number not in self.changes_shape
        ]


def study_responses(subject: Study, out: pathlib.Path) -> Claim:
    """Measures the layers' responses, and the test error without single blocks.

    Args:
        subject: The trained networks.
        out: Folder of the figures.
    """
    pixels = subject.images.batches[0].pixels
    responses = {
        name: np.asarray(subject.readers[name].read(trained.variables, pixels).responses)
        for name, trained in subject.trained.items()
    }
    lesions = {
        name: _lesions(subject, name)
        for name in (f"plain{subject.depths[1]}", f"resnet{subject.depths[1]}")
    }
    _draw_responses(responses, subject.depths, out / "responses.svg")
    _draw_lesions(lesions, out / "lesions.svg")
    return Claim(
        name="responses",
        heading="3. Residual branches are small (残差)",
        text=_text(responses, lesions, subject),
        figures={
            "responses.svg": "Standard deviation of each 3x3 layer's response after BatchNorm, "
            f"before the non-linearity and the addition, over {len(pixels)} test images. Left: in "
            "the order of the layers. Right: sorted.",
            "lesions.svg": "Test error when one block is taken out of the trained network; the "
            "dotted line is the whole network. Open circles: blocks that halve the resolution.",
        },
        numbers={
            "images_of_responses": len(pixels),
            "images_of_lesions": len(subject.images.labels),
            "responses": {name: values.tolist() for name, values in responses.items()},
            "lesions": {name: item._asdict() for name, item in lesions.items()},
        },
        missing=_missing(responses, subject),
    )


def _lesions(subject: Study, name: str) -> _Lesions:
    trained, reader = subject.trained[name], subject.readers[name]
    images = subject.images
    variables = trained.variables

    def error(without: int | None) -> float:
        right = images.right(reader.logits(variables, images, without=without))
        return 1 - right / len(images.labels)

    starts = np.cumsum([0, *trained.model.config.depths[:-1]])[1:]
    found = _Lesions(
        error(None), [error(number) for number in range(reader.blocks)], starts.tolist()
    )
    subject.say(
        f"{name}: test error {found.whole:.2%}, without a block up to {max(found.without):.2%}"
    )
    return found


def _text(
    responses: dict[str, NDArray[np.float32]], lesions: dict[str, _Lesions], subject: Study
) -> str:
    rows = [
        [
            title(name),
            *(f"{np.median(part):.3f}" for part in (values, values[1::2], values[2::2])),
        ]
        for name, values in responses.items()
    ]
    heading = ["network", "all layers", "first of a block", "second of a block"]
    cut = [
        [
            title(name),
            f"{item.whole:.2%}",
            f"{np.median(item.inner):.2%}",
            f"{max(item.inner):.2%}",
            f"{max(item.without):.2%}",
        ]
        for name, item in lesions.items()
    ]
    cut_heading = ["network", "whole", "median", "worst", "worst, with the blocks that stride"]
    return (
        f"{_verdict(responses, subject)}\n\n"
        f"Median of the standard deviations:\n\n{table(heading, rows)}\n\n"
        f"Test error of {len(subject.images.labels)} images without one block, over the blocks "
        f"that keep the shape:\n\n{table(cut_heading, cut)}"
    )


def _verdict(responses: dict[str, NDArray[np.float32]], subject: Study) -> str:
    deep = subject.depths[1]
    plain, residual = (responses[f"{kind}{deep}"] for kind in ("plain", "resnet"))
    seconds = _second_layers(responses, subject)
    falls = _shrink(seconds)
    return (
        f"The responses of residual {deep} are {residual.mean() / plain.mean():.2f} times those of "
        f"plain {deep} in the mean over the layers, and "
        f"{np.median(residual) / np.median(plain):.2f} times in the median. The "
        f"responses of the residual networks' second layers "
        f"{'shrink' if falls else 'do not clearly shrink'} with depth: their medians are "
        f"{', '.join(f'{value:.3f}' for value in seconds)} at "
        f"{', '.join(map(str, subject.depths))} layers. A response has the size of its BatchNorm's "
        "scale, which starts at 1 and needs many steps to leave it. Compared with what it is added "
        "to, a branch can be small all the same: see claim 4."
    )


def _second_layers(responses: dict[str, NDArray[np.float32]], subject: Study) -> list[float]:
    """Takes the median over the second layers of the blocks, for each residual network."""
    return [float(np.median(responses[f"resnet{depth}"][2::2])) for depth in subject.depths]


def _shrink(medians: list[float]) -> bool:
    return all(after < _CLEARLY * before for before, after in itertools.pairwise(medians))


def _missing(responses: dict[str, NDArray[np.float32]], subject: Study) -> tuple[str, ...]:
    deep = subject.depths[1]
    plain, residual = (np.median(responses[f"{kind}{deep}"]) for kind in ("plain", "resnet"))
    lines = []
    if residual >= _CLEARLY * plain:
        lines.append(
            f"The layers of residual {deep} do not respond clearly less than those of plain {deep} "
            "(figure 7 of the paper)."
        )
    if not _shrink(_second_layers(responses, subject)):
        lines.append(
            "Deeper residual networks do not have clearly smaller responses (figure 7 of the "
            "paper)."
        )
    return tuple(lines)


def _draw_responses(
    responses: dict[str, NDArray[np.float32]], depths: tuple[int, ...], path: pathlib.Path
) -> None:
    with figure(path, panels=2) as (left, right):
        for name, values in responses.items():
            style = line_style(name, depths)
            left.plot(np.arange(1, len(values) + 1), values, **style)
            right.plot(np.arange(1, len(values) + 1), np.sort(values)[::-1], **style)
        left.set(xlabel="3x3 layer", ylabel="standard deviation", ylim=(0, None))
        right.set(xlabel="3x3 layer, sorted by response", ylim=(0, None))
        right.legend()


def _draw_lesions(lesions: dict[str, _Lesions], path: pathlib.Path) -> None:
    with figure(path, panels=2) as panels:
        for axes, (name, item) in zip(panels, lesions.items(), strict=True):
            errors = 100 * np.array(item.without)
            blocks = np.arange(1, len(errors) + 1)
            inner = ~np.isin(blocks - 1, item.changes_shape)
            axes.plot(blocks[inner], errors[inner], "o", color=colour(name))
            axes.plot(blocks[~inner], errors[~inner], "o", color=colour(name), fillstyle="none")
            axes.axhline(100 * item.whole, color=colour(name), linestyle="dotted")
            axes.set(xlabel="block taken out", ylim=(-3, 103), title=title(name))
        panels[0].set_ylabel("test error (%)")

"""The input of the four parts of the study, and their result."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from resnet_jax.study.networks import TrainedNetwork, Training
from resnet_jax.study.plan import Plan
from resnet_jax.study.progress import Say
from resnet_jax.study.reading import Images, Reader


@dataclasses.dataclass(frozen=True)
class Study:
    """The trained networks, and the images to study them with.

    Attributes:
        plan: What was trained.
        trained: The networks by name, all with the first seed.
        repeats: Trainings with other seeds; only errors are taken from them.
        readers: The reader of each network, by name.
        images: Test images for the readers.
        say: Reports a line.
    """

    plan: Plan
    trained: dict[str, TrainedNetwork]
    repeats: tuple[Training, ...]
    readers: dict[str, Reader]
    images: Images
    say: Say

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers of the residual networks, the shallowest first."""
        return self.plan.depths

    def network(self, kind: str, depth: int) -> TrainedNetwork:
        """Returns the `plain` or `resnet` network of a depth."""
        return self.trained[f"{kind}{depth}"]

    def trainings(self, network: str) -> list[Training]:
        """Returns the trainings of a network with all of its seeds, the first seed first."""
        others = [training for training in self.repeats if training.network == network]
        return [self.trained[network].training, *others]


@dataclasses.dataclass(frozen=True)
class Claim:
    """The findings about one claim.

    Attributes:
        name: The name of its numbers in the JSON file.
        heading: The heading of its section.
        text: The section in Markdown, without the figures.
        figures: Files with their captions.
        numbers: All measurements, as plain values.
        missing: What the paper or the notes say and this run does not show, a line each.
    """

    name: str
    heading: str
    text: str
    figures: dict[str, str]
    numbers: dict[str, Any]
    missing: tuple[str, ...]


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Writes a Markdown table; all columns but the first are numbers."""
    marks = ["---", *("---:" for _ in heading[1:])]
    lines = [heading, marks, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)

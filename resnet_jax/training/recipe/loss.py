"""The part of a recipe that says what a step minimises."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

ClassWeights = Literal["balanced"] | dict[str, PositiveFloat] | tuple[PositiveFloat, ...]


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What a step minimises.

    Attributes:
        name: `cross_entropy`, or `bce`: binary cross-entropy per class, averaged over the classes.
            None takes `bce` if an image may have several classes, and else `cross_entropy`.
        label_smoothing: Share of the target that is spread over all classes; only in training.
        bce_threshold: Share of a mixed target above which `bce` counts the class as fully present;
            None keeps the shares.
        class_weights: How much each class counts in training: numbers in the order of the classes;
            numbers by name, such as `cat:2,dog:0.5`, where the other classes have 1; or `balanced`,
            the number of examples over that of the classes and of the class's examples. None: 1.
    """

    name: Literal["cross_entropy", "bce"] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    bce_threshold: Annotated[float, Field(ge=0, lt=1)] | None = None
    class_weights: ClassWeights | None = None

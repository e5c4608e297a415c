"""Random changes of one image on the host, as their papers define them: RandAugment and its kin.

A policy draws operations; `apply_policy` does them. Policies are plain values, so that worker
processes can take them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.images.policies.magnitudes import (
    INCREASING,
    SIGNED,
    USUAL,
    increasing_value,
    usual_value,
    wide_value,
)
from resnet_jax.data.images.policies.operations import (
    PLAIN_CANVAS,
    Canvas,
    Colour,
    Operation,
    apply_operation,
)
from resnet_jax.data.images.policies.tables import CIFAR, IMAGENET, Table

_BINS = 31


class Policy(Protocol):
    """Draws what is done to one image."""

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> list[tuple[Operation, Canvas]]:
        """Draws the operations for an image of `size`, (height, width)."""
        ...

    def describe(self) -> str:
        """Says in a line what it draws."""
        ...


def apply_policy(
    policy: Policy, image: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Changes an image at random.

    Args:
        policy: What may be done.
        image: uint8 [height, width, channels], with 1 or 3 channels.
        rng: Source of randomness.

    Returns:
        An image of the same shape.
    """
    pillow = Image.fromarray(image if image.shape[2] == 3 else image[..., 0])
    for operation, canvas in policy.draw(rng, (image.shape[0], image.shape[1])):
        pillow = apply_operation(pillow, operation, canvas)
    return np.asarray(pillow, dtype=np.uint8).reshape(image.shape)


@dataclass(frozen=True)
class AutoAugment:
    """A policy that was searched for: 25 pairs of operations, each with its probability.

    Attributes:
        table: The pairs.
        canvas: How pixels that move are drawn.

    References:
        Cubuk et al., AutoAugment: Learning Augmentation Policies from Data, 2018.
    """

    table: Table
    canvas: Canvas = PLAIN_CANVAS

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> list[tuple[Operation, Canvas]]:
        """Draws a pair, and of it what its probabilities let through."""
        pair = self.table[rng.integers(len(self.table))]
        return [
            (_signed(name, usual_value(name, level / 9, size), rng), self.canvas)
            for name, probability, level in pair
            if rng.random() <= probability
        ]

    def describe(self) -> str:
        """Says in a line what it draws."""
        return f"AutoAugment, one of {len(self.table)} pairs of operations"


@dataclass(frozen=True)
class RandAugment:
    """Operations drawn evenly, all of one magnitude.

    Attributes:
        operations: Operations an image.
        magnitude: Strength, from 0 to 30.
        canvas: How pixels that move are drawn.

    References:
        Cubuk et al., RandAugment: Practical Automated Data Augmentation with a Reduced Search
        Space, 2019.
    """

    operations: int = 2
    magnitude: float = 9
    canvas: Canvas = PLAIN_CANVAS

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> list[tuple[Operation, Canvas]]:
        """Draws `operations` operations, with repetition."""
        share = self.magnitude / (_BINS - 1)
        names = [USUAL[at] for at in rng.integers(len(USUAL), size=self.operations)]
        return [(_signed(name, usual_value(name, share, size), rng), self.canvas) for name in names]

    def describe(self) -> str:
        """Says in a line what it draws."""
        return f"RandAugment, {self.operations} operations of magnitude {self.magnitude:g} of 30"


@dataclass(frozen=True)
class TrivialAugment:
    """One operation of a random strength out of wide ranges.

    Attributes:
        canvas: How pixels that move are drawn.

    References:
        Müller and Hutter, TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation, 2021.
    """

    canvas: Canvas = PLAIN_CANVAS

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> list[tuple[Operation, Canvas]]:
        """Draws one operation; its strength is one of 31."""
        name = USUAL[rng.integers(len(USUAL))]
        share = float(rng.integers(_BINS)) / (_BINS - 1)
        return [(_signed(name, wide_value(name, share, size), rng), self.canvas)]

    def describe(self) -> str:
        """Says in a line what it draws."""
        return "TrivialAugment, one operation of random magnitude"


@dataclass(frozen=True)
class RandAugmentIncreasing:
    """RandAugment as timm has it (`rand-m7-mstd0.5-inc1`), with which RSB's recipes were found.

    Each operation is done with a probability of a half and grows with its magnitude, which varies
    around the recipe's. Pixels that move are drawn bilinear or bicubic, by the toss of a coin.

    Attributes:
        operations: Operations an image.
        magnitude: Strength, from 0 to 10.
        spread: Standard deviation of the magnitude.
        fill: The level of what comes from outside of the image, one a channel.

    References:
        Wightman et al., ResNet strikes back, 2021.
    """

    operations: int = 2
    magnitude: float = 7
    spread: float = 0.5
    fill: Colour = (128, 128, 128)

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> list[tuple[Operation, Canvas]]:
        """Draws up to `operations` operations, with repetition."""
        drawn = []
        for at in rng.integers(len(INCREASING), size=self.operations):
            if rng.random() > 0.5:
                continue
            magnitude = float(np.clip(rng.normal(self.magnitude, self.spread), 0, 10))
            value = increasing_value(INCREASING[at], magnitude / 10, size)
            canvas = Canvas("bilinear" if rng.integers(2) else "bicubic", self.fill)
            drawn.append((_signed(INCREASING[at], value, rng), canvas))
        return drawn

    def describe(self) -> str:
        """Says in a line what it draws."""
        return (
            f"RandAugment as in timm, {self.operations} operations, each with probability 0.5, of "
            f"magnitude {self.magnitude:g} of 10 (standard deviation {self.spread:g})"
        )


def build_policy(augment: AugmentConfig, data: DataConfig) -> Policy | None:
    """Gives the policy of a recipe.

    Args:
        augment: Names the policy and its strength.
        data: The filter, and the mean that timm's form fills with.

    Returns:
        The policy; None where the recipe names none.
    """
    operations, magnitude = augment.policy_operations, augment.policy_magnitude
    canvas = Canvas(data.interpolation)
    match augment.policy:
        case None:
            return None
        case "randaugment":
            return RandAugment(operations, 9 if magnitude is None else magnitude, canvas)
        case "randaugment_increasing":
            mean = data.mean if len(data.mean) == 3 else data.mean * 3
            fill = tuple(min(255, round(255 * level)) for level in mean)
            magnitude = 7 if magnitude is None else magnitude
            return RandAugmentIncreasing(operations, magnitude, augment.policy_spread, fill)
        case "trivialaugment":
            return TrivialAugment(canvas)
        case "autoaugment_imagenet":
            return AutoAugment(IMAGENET, canvas)
        case "autoaugment_cifar":
            return AutoAugment(CIFAR, canvas)


def _signed(name: str, value: float, rng: np.random.Generator) -> Operation:
    return Operation(name, -value if name in SIGNED and rng.integers(2) else value)

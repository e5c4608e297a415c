"""What a recipe does to an image on the host, as one list: decode, crop, flip, policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import MAX_PIXELS, AugmentConfig, DataConfig
from resnet_jax.data.images.policies.policy import Policy, apply_policy, build_policy
from resnet_jax.data.images.record import Record, Transform, describe_decoding, open_image
from resnet_jax.data.images.resize import RandomResizedCrop, ResizeCentreCrop
from resnet_jax.network_inputs import NetworkInputs


class ImageStep(Protocol):
    """A step of the list after the first: changes an image, uint8 [height, width, channels]."""

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives the changed image."""
        ...

    def describe(self) -> str:
        """Says in a line what it does."""
        ...


@dataclass(frozen=True)
class Decode:
    """Decodes an image as it is.

    Attributes:
        channels: 1 for greyscale, 3 for RGB.
        max_pixels: Larger images are refused before they are decoded.
    """

    channels: int
    max_pixels: int

    def __call__(self, record: Record, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives uint8 [height, width, channels]; the generator is not used."""
        del rng
        opened = open_image(record.image, channels=self.channels, max_pixels=self.max_pixels)
        return opened.whole()

    def describe(self) -> list[str]:
        """Says in lines what it does."""
        return [describe_decoding(self.channels)]


@dataclass(frozen=True)
class PadCrop:
    """Pads with black and cuts a window of the old size from a random place.

    Attributes:
        pad: Pixels on each side.
    """

    pad: int

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives an image of the same shape."""
        height, width = image.shape[:2]
        top, left = rng.integers(2 * self.pad + 1, size=2)
        padded = np.pad(image, ((self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        return padded[top : top + height, left : left + width]

    def describe(self) -> str:
        """Says in a line what it does."""
        return f"crop: pad by {self.pad} pixels of black and cut a window of the old size"


@dataclass(frozen=True)
class Flip:
    """Mirrors left and right at random.

    Attributes:
        probability: Of an image to be mirrored.
    """

    probability: float

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives the image or a mirrored view of it."""
        return image[:, ::-1] if rng.random() < self.probability else image

    def describe(self) -> str:
        """Says in a line what it does."""
        return f"flip left and right with probability {self.probability:g}"


@dataclass(frozen=True)
class ChangeByPolicy:
    """Lets a policy change an image.

    Attributes:
        policy: Draws the operations.
    """

    policy: Policy

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives an image of the same shape."""
        return apply_policy(self.policy, np.ascontiguousarray(image), rng)

    def describe(self) -> str:
        """Says in a line what it does."""
        return f"policy: {self.policy.describe()}"


@dataclass(frozen=True)
class ImageSteps:
    """The list of what happens to an image on the host, from the first step to the last.

    Attributes:
        first: Decodes; with a crop in one step, since a JPEG can be decoded at a fraction.
        rest: What follows, in order.
    """

    first: Decode | RandomResizedCrop | ResizeCentreCrop
    rest: tuple[ImageStep, ...] = ()

    def __call__(self, record: Record, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives uint8 [height, width, channels]."""
        image = self.first(record, rng)
        for step in self.rest:
            image = step(image, rng)
        return image

    def describe(self) -> list[str]:
        """Says in lines what happens, in order."""
        return [*self.first.describe(), *(step.describe() for step in self.rest)]


def train_steps(
    config: DataConfig, augment: AugmentConfig | None = None, *, channels: int
) -> ImageSteps:
    """Lists what happens to a training image on the host.

    Args:
        config: The size, and the range of the crops.
        augment: Names a policy; None for none. With a policy, padding and flipping come before it;
            without one they are done on the device.
        channels: `Source.channels`.
    """
    first: Decode | RandomResizedCrop = Decode(channels, config.max_pixels)
    if config.image_size is not None:
        first = RandomResizedCrop(
            config.image_size,
            area=config.crop_area,
            ratio=config.crop_ratio,
            interpolation=config.interpolation,
            channels=channels,
            max_pixels=config.max_pixels,
        )
    policy = build_policy(augment, config) if augment else None
    if augment is None or policy is None:
        return ImageSteps(first)
    crop = (PadCrop(augment.pad_crop),) if augment.pad_crop else ()
    return ImageSteps(first, (*crop, Flip(augment.flip), ChangeByPolicy(policy)))


def eval_steps(inputs: NetworkInputs, *, max_pixels: int = MAX_PIXELS) -> ImageSteps:
    """Lists what happens to an image on the host for evaluation and prediction.

    Args:
        inputs: What the network expects.
        max_pixels: Larger images are refused before they are decoded.
    """
    if inputs.size is None:
        return ImageSteps(Decode(inputs.channels, max_pixels))
    crop = ResizeCentreCrop(
        inputs.size,
        crop_fraction=inputs.crop_fraction,
        interpolation=inputs.interpolation,
        channels=inputs.channels,
        max_pixels=max_pixels,
    )
    return ImageSteps(crop)


def train_transform(
    config: DataConfig, augment: AugmentConfig | None = None, *, channels: int
) -> Transform | None:
    """Gives `train_steps` as a transform; None where every source does it: only decoding."""
    return _beyond_decoding(train_steps(config, augment, channels=channels))


def eval_transform(inputs: NetworkInputs, *, max_pixels: int = MAX_PIXELS) -> Transform | None:
    """Gives `eval_steps` as a transform; None where every source does it: only decoding."""
    return _beyond_decoding(eval_steps(inputs, max_pixels=max_pixels))


def _beyond_decoding(steps: ImageSteps) -> ImageSteps | None:
    return None if isinstance(steps.first, Decode) and not steps.rest else steps

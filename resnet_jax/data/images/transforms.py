"""What a recipe does to an image on the host: to one size, then, with a policy, random changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.images.policies import Policy, apply_policy, build_policy
from resnet_jax.data.images.record import Record, Transform, open_image
from resnet_jax.data.images.resize import RandomResizedCrop, ResizeCentreCrop


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


@dataclass(frozen=True)
class ChangedByPolicy:
    """Brings an image to its size, pads and crops it, mirrors it, and then lets a policy change it.

    Attributes:
        first: Gives the pixels.
        pad: Pixels of black on each side, of which a window of the old size is cut.
        flip: Probability of mirroring left and right.
        policy: What comes last.
    """

    first: Transform
    pad: int
    flip: float
    policy: Policy

    def __call__(self, record: Record, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives uint8 [height, width, channels]."""
        pixels = self.first(record, rng)
        if self.pad:
            pixels = pad_crop(pixels, rng, pad=self.pad)
        if rng.random() < self.flip:
            pixels = pixels[:, ::-1]
        return apply_policy(self.policy, np.ascontiguousarray(pixels), rng)


def pad_crop(pixels: NDArray[np.uint8], rng: np.random.Generator, *, pad: int) -> NDArray[np.uint8]:
    """Pads with black and cuts a window of the old size from a random place.

    Args:
        pixels: uint8 [height, width, channels].
        rng: Source of randomness.
        pad: Pixels on each side.

    Returns:
        Pixels of the same shape.
    """
    height, width = pixels.shape[:2]
    top, left = rng.integers(2 * pad + 1, size=2)
    padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)))
    return padded[top : top + height, left : left + width]


def train_transform(
    config: DataConfig, augment: AugmentConfig | None = None, *, channels: int
) -> Transform | None:
    """Gives the transform of the training images.

    Args:
        config: The size, and the range of the crops.
        augment: Names a policy; None for none.
        channels: `Source.channels`.

    Returns:
        A random resized crop where a size is asked for, then the policy where one is; None where
        images are taken as they are.
    """
    crop = None
    if config.image_size is not None:
        crop = RandomResizedCrop(
            config.image_size,
            area=config.crop_area,
            ratio=config.crop_ratio,
            interpolation=config.interpolation,
            channels=channels,
            max_pixels=config.max_pixels,
        )
    policy = build_policy(augment, config) if augment else None
    if augment is None or policy is None:
        return crop
    first = crop or Decode(channels, config.max_pixels)
    return ChangedByPolicy(first, augment.pad_crop, augment.flip, policy)


def eval_transform(config: DataConfig, *, channels: int) -> Transform | None:
    """Gives the transform of the images for evaluation.

    Args:
        config: The size and the fraction of the crop.
        channels: `Source.channels`.

    Returns:
        Resizing and the centre crop; None where images are taken as they are.
    """
    if config.image_size is None:
        return None
    return ResizeCentreCrop(
        config.image_size,
        crop_fraction=config.crop_fraction,
        interpolation=config.interpolation,
        channels=channels,
        max_pixels=config.max_pixels,
    )

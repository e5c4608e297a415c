"""From a stored example to an image of one size, on the host: one at a time, in the workers."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.images.record import Record, describe_decoding, open_image

Interpolation = Literal["bilinear", "bicubic"]

_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_ATTEMPTS = 10


class Box(NamedTuple):
    """A window of an image in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class ResizeCentreCrop:
    """Resizes the shorter side to `size / crop_fraction` and cuts out the centre, for evaluation.

    The pixels are those of torchvision's Resize and CenterCrop on Pillow images, which timm uses:
    Pillow's filter with antialiasing.

    Attributes:
        size: Height and width of the result in pixels.
        crop_fraction: What the window takes of the shorter side.
        interpolation: The filter.
        channels: 1 for greyscale, 3 for RGB.
        max_pixels: Larger images are refused before they are decoded.
    """

    size: int
    crop_fraction: float = 0.875
    interpolation: Interpolation = "bilinear"
    channels: int = 3
    max_pixels: int = MAX_PIXELS

    def __call__(self, record: Record, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives uint8 [size, size, channels]; the generator is not used."""
        del rng
        opened = open_image(record.image, channels=self.channels, max_pixels=self.max_pixels)
        resized_height, resized_width = _resized(
            opened.height, opened.width, int(self.size / self.crop_fraction)
        )
        top, left = round((resized_height - self.size) / 2), round((resized_width - self.size) / 2)
        image = opened.whole()
        pillow = Image.fromarray(image if self.channels == 3 else image[..., 0])
        # All of it, not only the window: Pillow may swap its two passes for another window.
        resized = pillow.resize((resized_width, resized_height), _PILLOW[self.interpolation])
        window = (left, top, left + self.size, top + self.size)
        return np.asarray(resized.crop(window)).reshape(self.size, self.size, self.channels)

    def describe(self) -> list[str]:
        """Says in lines what it does."""
        return [
            describe_decoding(self.channels),
            f"crop: resize the shorter side to {int(self.size / self.crop_fraction)} pixels "
            f"({self.interpolation}, antialiased) and cut {self.size} x {self.size} at the centre",
        ]


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cuts a window of random area and aspect ratio and resizes it, for training.

    The window is torchvision's. A JPEG is decoded at the smallest scale at which the window is not
    smaller than the result, so that the resizing shrinks by less than two; it then needs, and has,
    no antialiasing.

    Attributes:
        size: Height and width of the result in pixels.
        area: Least and greatest share of the image that the window takes.
        ratio: Least and greatest width over height of the window, drawn evenly in its logarithm.
        interpolation: The filter.
        channels: 1 for greyscale, 3 for RGB.
        max_pixels: Larger images are refused before they are decoded.

    References:
        Szegedy et al., Going deeper with convolutions, 2015.
    """

    size: int
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Interpolation = "bilinear"
    channels: int = 3
    max_pixels: int = MAX_PIXELS

    def __call__(self, record: Record, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Gives uint8 [size, size, channels]."""
        opened = open_image(record.image, channels=self.channels, max_pixels=self.max_pixels)
        height, width = opened.height, opened.width
        box = random_box(rng, height, width, area=self.area, ratio=self.ratio)
        image = opened.at_least(
            math.ceil(height * self.size / box.height), math.ceil(width * self.size / box.width)
        )
        scale = round(height / image.shape[0])
        return _resize_window(image, box, scale, self.size, self.interpolation)

    def describe(self) -> list[str]:
        """Says in lines what it does."""
        return [
            describe_decoding(self.channels, scales=True),
            f"crop: a random window of {self.area[0]:g} to {self.area[1]:g} of the area and "
            f"{self.ratio[0]:.3g} to {self.ratio[1]:.3g} as wide as high, resized to {self.size} x "
            f"{self.size} pixels ({self.interpolation})",
        ]


def random_box(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """Draws a window as torchvision's RandomResizedCrop does.

    Args:
        rng: Source of randomness.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        area: Least and greatest share of the image.
        ratio: Least and greatest width over height.

    Returns:
        A window inside of the image; after ten windows that do not fit, the largest one at the
        centre whose ratio does.
    """
    for _ in range(_ATTEMPTS):
        target = height * width * rng.uniform(*area)
        aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        box_width, box_height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(rng.integers(height - box_height + 1))
            left = int(rng.integers(width - box_width + 1))
            return Box(top, left, box_height, box_width)
    box_width = min(width, round(height * ratio[1]))
    box_height = min(height, round(width / ratio[0]))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    return Box(top, left, box_height, box_width)


def _resize_window(
    image: NDArray[np.uint8], box: Box, scale: int, size: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Resizes a window, given in pixels of the image before it was decoded at 1 / scale."""
    # To the nearest pixel: half a pixel here is at most half a pixel of the result.
    top, bottom = round(box.top / scale), round((box.top + box.height) / scale)
    left, right = round(box.left / scale), round((box.left + box.width) / scale)
    cv2 = _opencv()
    filters = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
    window = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    result = cv2.resize(window, (size, size), interpolation=filters[interpolation])
    return np.asarray(result, dtype=np.uint8).reshape(size, size, image.shape[2])


def _resized(height: int, width: int, shorter: int) -> tuple[int, int]:
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter


@functools.cache
def _opencv() -> Any:
    import cv2

    cv2.setNumThreads(0)  # the pipeline has its own threads or processes
    return cv2

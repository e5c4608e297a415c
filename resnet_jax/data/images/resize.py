"""From a stored example to an image of one size, on the host: one at a time, in the workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import OpenImage, Record, describe_decoding, open_image

cv2.setNumThreads(0)  # the pipeline has its own threads or processes

Interpolation = Literal["bilinear", "bicubic"]

_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_ATTEMPTS = 10
_MOST_RATIO = 1000  # of the longer side to the shorter: panoramas and scrolls stay below 100
_MOST_RESIZED = 8  # times the window, up to which a whole image is resized before it is cropped
_MOST_BLURRED = 4  # times the result, up to which OpenCV's filter takes less time than Pillow's


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
    Pillow's filter with antialiasing. Of images that would be long once they are resized, only the
    window is computed; there a pixel may differ by one level.

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
        opened = _open(record, self.channels, self.max_pixels)
        height, width = _resized(opened.height, opened.width, int(self.size / self.crop_fraction))
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        window = (left, top, left + self.size, top + self.size)
        image, kind = _pillow(opened.whole()), _PILLOW[self.interpolation]
        if max(height, width) <= _MOST_RESIZED * self.size:
            # All of it, not only the window: Pillow may swap its two passes for another window.
            cropped = image.resize((width, height), kind).crop(window)
        else:
            across, down = image.width / width, image.height / height
            right = min((left + self.size) * across, image.width)
            bottom = min((top + self.size) * down, image.height)
            box = (left * across, top * down, right, bottom)
            cropped = image.resize((self.size, self.size), kind, box=box)
        return np.asarray(cropped).reshape(self.size, self.size, self.channels)

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

    The window and the filter are torchvision's on Pillow images, with antialiasing: to the bit if
    the window shrinks by more than four or the filter is bicubic, and otherwise to less than half a
    grey level on average. A JPEG is decoded at the smallest scale at which the window is not
    smaller than the result, a plain PNG or WebP down to the last row of the window.

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
        opened = _open(record, self.channels, self.max_pixels)
        height, width = opened.height, opened.width
        box = random_box(rng, height, width, area=self.area, ratio=self.ratio)
        image = opened.at_least(
            math.ceil(height * self.size / box.height),
            math.ceil(width * self.size / box.width),
            box.top + box.height,
        )
        scale = round(width / image.shape[1])
        return _resize_window(image, box, scale, self.size, self.interpolation)

    def describe(self) -> list[str]:
        """Says in lines what it does."""
        return [
            describe_decoding(self.channels, scales=True),
            f"crop: a random window of {self.area[0]:g} to {self.area[1]:g} of the area and "
            f"{self.ratio[0]:.3g} to {self.ratio[1]:.3g} as wide as high, resized to {self.size} x "
            f"{self.size} pixels ({self.interpolation}, antialiased)",
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


def _open(record: Record, channels: int, max_pixels: int) -> OpenImage:
    """Opens an image and refuses one that is a line rather than a picture."""
    opened = open_image(record.image, channels=channels, max_pixels=max_pixels)
    shorter, longer = sorted((opened.height, opened.width))
    if longer > _MOST_RATIO * shorter:
        raise BadImageError(
            f"the image is {opened.width} x {opened.height} pixels, one side more than "
            f"{_MOST_RATIO} times the other: a crop would show next to nothing of it"
        )
    return opened


def _resize_window(
    image: NDArray[np.uint8], box: Box, scale: int, size: int, interpolation: Interpolation
) -> NDArray[np.uint8]:
    """Resizes a window, given in pixels of the image before it was decoded at 1 / scale."""
    # To the nearest pixel: half a pixel here is at most half a pixel of the result.
    top, bottom = round(box.top / scale), round((box.top + box.height) / scale)
    left, right = round(box.left / scale), round((box.left + box.width) / scale)
    window = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    if interpolation == "bicubic" or max(window.shape[:2]) > _MOST_BLURRED * size:
        resized = _pillow(window).resize((size, size), _PILLOW[interpolation])
        return np.asarray(resized).reshape(size, size, image.shape[2])
    across, down = (triangle_taps(side / size) for side in (window.shape[1], window.shape[0]))
    blurred: NDArray[Any] = window
    if len(across) > 1 or len(down) > 1:
        blurred = cv2.sepFilter2D(window, -1, across, down, borderType=cv2.BORDER_REPLICATE)
    result = cv2.resize(blurred, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(result, dtype=np.uint8).reshape(size, size, image.shape[2])


def triangle_taps(shrink: float) -> NDArray[np.float64]:
    """Gives the filter that turns linear interpolation into Pillow's antialiased bilinear resizing.

    Pillow weighs pixels with a triangle as wide as the result's pixels are far apart. Linear
    interpolation is a triangle of one pixel, and one of n pixels is the sum of such triangles: for
    a whole n this is exact; in between, the two neighbours are blended.

    Args:
        shrink: Pixels of the window for each of the result.

    Returns:
        Weights that sum to 1, an odd number of them; a single 1 where nothing shrinks.
    """
    if shrink <= 1:
        return np.ones(1)
    whole = int(shrink)
    above = shrink - whole
    taps = above * np.convolve(np.ones(whole + 1), np.ones(whole + 1)) / (whole + 1) ** 2
    taps[1:-1] += (1 - above) * np.convolve(np.ones(whole), np.ones(whole)) / whole**2
    return taps


def _pillow(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image if image.shape[2] == 3 else image[..., 0])


def _resized(height: int, width: int, shorter: int) -> tuple[int, int]:
    if height <= width:
        return shorter, int(shorter * width / height)
    return int(shorter * height / width), shorter

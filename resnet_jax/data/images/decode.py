"""Image files to arrays (NumPy): JPEG with libjpeg-turbo, everything else with Pillow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.images.jpeg import decode_jpeg_at_least, read_plain_jpeg
from resnet_jax.data.images.orientation import FIRST_TURNED
from resnet_jax.data.images.pillow import (
    decode_with_pillow,
    open_with_pillow,
    stored_orientation,
)


def decode_image(
    image: bytes, *, channels: int = 3, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decodes an image file: upright by its EXIF orientation, the first image of several.

    Greyscale, palette, CMYK and 16-bit images are converted (16-bit levels are scaled, not cut
    off); transparency is dropped, as in `PIL.Image.convert("RGB")`.

    Args:
        image: The content of the file.
        channels: 1 for greyscale, 3 for RGB.
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        uint8 array [height, width, channels].

    Raises:
        BadImageError: The content is empty, no image, damaged, truncated or too large.
    """
    jpeg = read_plain_jpeg(image, max_pixels=max_pixels)
    if jpeg is None:
        return decode_with_pillow(image, channels=channels, max_pixels=max_pixels)
    decoded = decode_jpeg_at_least(
        image, jpeg, height=jpeg.height, width=jpeg.width, channels=channels
    )
    return np.ascontiguousarray(decoded)


def image_size(image: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads the size of an image from its header.

    Args:
        image: The content of an image file.
        max_pixels: Larger images are refused.

    Returns:
        Height and width in pixels of the upright image.

    Raises:
        BadImageError: The content is empty, no image, or the image is too large.
    """
    jpeg = read_plain_jpeg(image, max_pixels=max_pixels)
    if jpeg is not None:
        return jpeg.height, jpeg.width
    with open_with_pillow(image, max_pixels) as opened:
        width, height = opened.size
        # The size of a TIFF is that of the upright image already.
        turned = opened.format != "TIFF" and stored_orientation(opened) >= FIRST_TURNED
    return (width, height) if turned else (height, width)

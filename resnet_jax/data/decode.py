"""Encoded image files to pixels (NumPy)."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_MODES = {1: "L", 3: "RGB"}


def decode_image(data: bytes, *, channels: int = 3) -> NDArray[np.uint8]:
    """Decodes an image file.

    Args:
        data: The content of the file (PNG, JPEG, WebP ...).
        channels: 1 for greyscale, 3 for RGB; the image is converted to it.

    Returns:
        uint8 array [height, width, channels].
    """
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.array(image.convert(_MODES[channels]), dtype=np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)

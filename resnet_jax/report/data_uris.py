"""Pictures inside the page: mistakes as they were seen, large tables of confusions as pixels."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SMALL = 64  # up to here a picture is kept to the bit and shown with hard pixels
_WRONG = (200, 60, 50)
_RIGHT = (40, 110, 200)


def picture_uri(pixels: NDArray[np.uint8]) -> str:
    """Encodes a picture as a `data:` address: PNG where it is small, else JPEG.

    Args:
        pixels: uint8 [height, width, 1 or 3].
    """
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    kind = "png" if is_small(pixels) else "jpeg"
    image.save(buffer, format=kind, **({"quality": 85} if kind == "jpeg" else {}))
    return _uri(buffer.getvalue(), kind)


def is_small(pixels: NDArray[np.uint8]) -> bool:
    """Tells whether a picture has so few pixels that each is to be seen."""
    return max(pixels.shape[:2]) <= _SMALL


def confusion_uri(confusion: NDArray[np.int64]) -> str:
    """Draws a table of confusions, one pixel an entry, on a transparent ground.

    Args:
        confusion: [classes, classes]: examples by class (row) and predicted class.

    Returns:
        A `data:` address. What is right is blue, what is wrong red; the opacity is the square root
        of the share of the row, so that rare confusions are seen.
    """
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*confusion.shape, 4), np.uint8)
    pixels[..., :3] = np.where(np.eye(len(confusion), dtype=bool)[..., None], _RIGHT, _WRONG)
    pixels[..., 3] = np.rint(255 * np.sqrt(shares))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return _uri(buffer.getvalue(), "png")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

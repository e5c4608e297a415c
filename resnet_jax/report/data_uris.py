"""Images embedded in the page: mistakes, and large confusion matrices with a pixel per entry."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SMALL = 64  # up to this size an image is lossless and shown with sharp pixels
_WRONG = (200, 60, 50)
_RIGHT = (40, 110, 200)


def image_uri(image: NDArray[np.uint8]) -> str:
    """Encodes an image as a `data:` URI: PNG if it is small, else JPEG.

    Args:
        image: uint8 [height, width, 1 or 3].
    """
    buffer = io.BytesIO()
    kind = "png" if is_small(image) else "jpeg"
    shown = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    shown.save(buffer, format=kind, **({"quality": 85} if kind == "jpeg" else {}))
    return _uri(buffer.getvalue(), kind)


def is_small(image: NDArray[np.uint8]) -> bool:
    """Whether an image has so few pixels that each one should be visible."""
    return max(image.shape[:2]) <= _SMALL


def confusion_uri(confusion: NDArray[np.int64]) -> str:
    """Draws a confusion matrix, one pixel per entry, on a transparent background.

    Args:
        confusion: [classes, classes]: examples by class (row) and predicted class.

    Returns:
        A `data:` URI. The diagonal is blue, the rest red; the opacity is the square root of the
        share of the row, so that rare confusions are visible.
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

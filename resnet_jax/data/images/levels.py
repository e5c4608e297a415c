"""Levels of 16 bits, of which Pillow would keep the high byte, scaled to 8 bits."""

from __future__ import annotations

import io
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIXTEEN_BITS = ("RGB;16", "RGBA;16", "RGBX;16")
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def open_low_bytes(opened: Image.Image) -> Image.Image | None:
    """Opens an image of 16 bits a colour again, so that it gives the low bytes of its levels.

    Of each level Pillow keeps one byte, the high one. Told the other order of bytes, it keeps the
    other one.

    Args:
        opened: An image that is not loaded yet.

    Returns:
        The image of the low bytes, loaded; None for images of fewer bits, and for grey ones.
    """
    tiles, file = getattr(opened, "tile", None) or (), getattr(opened, "fp", None)
    kinds = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in tiles}
    kind = kinds.pop() if len(kinds) == 1 else None
    if file is None or not isinstance(kind, str) or not kind.startswith(_SIXTEEN_BITS):
        return None
    position = file.tell()
    file.seek(0)
    twin = Image.open(io.BytesIO(file.read()), formats=("PNG", "TIFF"))
    file.seek(position)
    swapped = kind[:-1] + _OTHER_ORDER[kind[-1]]
    twin.tile = [
        tile._replace(args=swapped if isinstance(tile.args, str) else (swapped, *tile.args[1:]))
        for tile in tiles
    ]
    twin.load()
    return twin


def join_bytes(high: Image.Image, low: Image.Image) -> NDArray[np.uint32]:
    """Gives the levels, [height, width, 3], of two images that hold a byte of each."""
    levels = np.asarray(high)[..., :3].astype(np.uint32)
    levels <<= 8
    levels += np.asarray(low)[..., :3]
    return levels


def scale_levels(levels: NDArray[np.uint32]) -> Image.Image:
    """Scales levels of 0 to 65535 to 8 bits, to the nearest; the array is overwritten."""
    levels *= 255  # in place: a large image has a few of these arrays at a time as it is
    levels += 32767
    levels //= 65535
    return Image.fromarray(levels.astype(np.uint8))

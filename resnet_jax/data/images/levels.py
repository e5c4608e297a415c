"""Levels of 16 bits, of which Pillow would keep the high byte, scaled to 8 bits."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_GREY_WITH_ALPHA = "LA;16B"
_PREMULTIPLIED = "RGBa;16"
_SIXTEEN_BITS = ("RGB;16", "RGBA;16", "RGBX;16", "CMYK;16", _PREMULTIPLIED)
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def read_levels(opened: Image.Image) -> NDArray[np.uint32] | None:
    """Reads the levels of an image of 16 bits a colour in full.

    Of each level Pillow keeps one byte, the high one. Told the other order of bytes, it keeps the
    other one; so the image is read twice.

    Args:
        opened: An image that is not loaded yet; it is loaded here.

    Returns:
        Levels of 0 to 65535, [height, width, 3], [height, width, 4] for CMYK or [height, width] for
        grey, without the alpha channel; None for images of fewer bits, and for grey ones without an
        alpha channel, which Pillow reads in full.
    """
    kind = _raw_mode(opened)
    if kind == _GREY_WITH_ALPHA:
        # As if they were four colours of 8 bits, the bytes of each pixel.
        pixels = np.asarray(_open_again(opened, "RGBA"))
        opened.load()
        grey = pixels[..., 0].astype(np.uint32)
        grey <<= 8
        grey += pixels[..., 1]
        return grey
    if not kind.startswith(_SIXTEEN_BITS):
        return None
    stored = kind.replace("RGBa", "RGBA")
    low = _open_again(opened, stored[:-1] + _OTHER_ORDER[stored[-1]])
    high = opened if kind == stored else _open_again(opened, stored)
    opened.load()
    levels = np.asarray(high).astype(np.uint32)
    levels <<= 8
    levels += np.asarray(low)
    if kind.startswith(_PREMULTIPLIED):
        alpha = levels[..., 3:]
        return np.minimum(levels[..., :3] * 65535 // np.maximum(alpha, 1), 65535)
    return levels if opened.mode == "CMYK" else levels[..., :3]


def scale_levels(levels: NDArray[np.uint32]) -> Image.Image:
    """Scales levels of 0 to 65535 to 8 bits, to the nearest; the array is overwritten.

    Four channels are those of CMYK.
    """
    levels *= 255  # in place: a large image has a few of these arrays at a time as it is
    levels += 32767
    levels //= 65535
    scaled = levels.astype(np.uint8)
    height, width, *channels = scaled.shape
    if channels == [4]:
        return Image.frombytes("CMYK", (width, height), scaled.tobytes())
    return Image.fromarray(scaled)


def _raw_mode(opened: Image.Image) -> str:
    """Returns how Pillow will read the pixels; empty if it is not known or not one way."""
    tiles = getattr(opened, "tile", None) or ()
    kinds = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in tiles}
    kind = kinds.pop() if len(kinds) == 1 and getattr(opened, "fp", None) is not None else ""
    return kind if isinstance(kind, str) else ""


def _open_again(opened: Image.Image, raw_mode: str) -> Image.Image:
    """Opens the same file in another raw mode, and loads it."""
    file = getattr(opened, "fp", None)
    assert file is not None
    position = file.tell()
    file.seek(0)
    again = Image.open(io.BytesIO(file.read()), formats=("PNG", "TIFF"))
    file.seek(position)
    tiles: list[Any] = again.tile
    again.tile = [
        tile._replace(args=raw_mode if isinstance(tile.args, str) else (raw_mode, *tile.args[1:]))
        for tile in tiles
    ]
    again.load()
    return again

"""Which way up an image is: the orientation in a JPEG's EXIF data, and how to turn it."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

ORIENTATION = 0x0112
"""The number of the EXIF field."""

FIRST_TURNED = 5
"""From this orientation on the stored rows are the columns of the upright image."""

_FILL, _SCAN, _APPLICATION = 0xFF, 0xDA, 0xE1
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_NUMBERS = {3: "H", 4: "I"}


def jpeg_orientation(image: bytes) -> int:
    """Reads the orientation of a JPEG, without the warnings that Pillow has for odd EXIF data.

    Args:
        image: The content of the file.

    Returns:
        1 to 8; 1, upright, where there is none or it cannot be read.
    """
    at = 2
    try:
        while image[at] == _FILL and image[at + 1] != _SCAN:
            length = int.from_bytes(image[at + 2 : at + 4], "big")
            if image[at + 1] == _APPLICATION and image[at + 4 : at + 10] == b"Exif\0\0":
                return _orientation(image[at + 10 : at + 2 + length])
            at += 1 if image[at + 1] == _FILL else 2 + length
    except (IndexError, KeyError, struct.error):
        pass  # EXIF data that cannot be read do not make the image unusable
    return 1


def turn_upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turns an image as its orientation says.

    Args:
        image: uint8 [height, width, channels] as stored.
        orientation: 1 to 8.

    Returns:
        A view of it.
    """
    rows = slice(None, None, -1 if orientation in (3, 4, 6, 7) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 7, 8) else 1)
    mirrored = image[rows, columns]
    return mirrored.transpose(1, 0, 2) if orientation >= FIRST_TURNED else mirrored


def _orientation(tiff: bytes) -> int:
    order = _BYTE_ORDERS[tiff[:2]]
    (first,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, first)
    for at in range(first + 2, first + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", tiff, at)
        if tag == ORIENTATION:
            (value,) = struct.unpack_from(order + _NUMBERS[kind], tiff, at + 8)
            return value if 1 <= value <= 8 else 1
    return 1

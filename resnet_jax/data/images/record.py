"""One example as it is stored, and its image opened: only here is asked if it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.bad_image import check_pixels
from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.jpeg import decode_jpeg_at_least, read_plain_jpeg
from resnet_jax.data.images.rows import PlainRows, decode_rows, read_plain_rows

Label = int | tuple[int, ...]
"""The class of an image, from 0; or its classes, where an image may have several or none."""


class Record(NamedTuple):
    """One example as it is stored.

    Attributes:
        image: The content of an image file, or decoded, uint8 [height, width, channels].
        label: The class or classes.
    """

    image: bytes | NDArray[np.uint8]
    label: Label


Transform = Callable[[Record, np.random.Generator], NDArray[np.uint8]]
"""Turns a stored example into an image of one shape, with the random numbers that it is given."""


class OpenImage(NamedTuple):
    """An image whose size is known, and of whose pixels a part can be had sooner than all.

    Attributes:
        height: Of the upright image, in pixels.
        width: Of the upright image, in pixels.
        at_least: Maps a height, a width and a number of rows to the image, uint8 [height, width,
            channels], at a scale that is not smaller than that. A JPEG is decoded at 1/8, 1/4 or
            1/2 where it can be, whole; every other image has one scale. Of a PNG or WebP there may
            be no more than that many upper rows.
    """

    height: int
    width: int
    at_least: Callable[[int, int, int], NDArray[np.uint8]]

    def whole(self) -> NDArray[np.uint8]:
        """Gives the image at its own size, uint8 [height, width, channels]."""
        return np.ascontiguousarray(self.at_least(self.height, self.width, self.height))


def describe_decoding(channels: int, *, scales: bool = False) -> str:
    """Says in a line how an image is decoded.

    Args:
        channels: 1 for greyscale, 3 for RGB.
        scales: Whether a JPEG may be decoded at a fraction of its size.
    """
    kind = "greyscale" if channels == 1 else "RGB"
    fraction = ", a JPEG at 1/2, 1/4 or 1/8 where the crop allows it" if scales else ""
    return f"decode to {kind}, upright{fraction}"


def open_image(image: bytes | NDArray[np.uint8], *, channels: int, max_pixels: int) -> OpenImage:
    """Opens an image, encoded or not.

    Args:
        image: `Record.image`.
        channels: 1 for greyscale, 3 for RGB; a file is converted.
        max_pixels: Larger files are refused before they are decoded.

    Raises:
        BadImageError: The file is empty, not an image, damaged, truncated or too large.
    """
    if isinstance(image, bytes):
        encoded, jpeg = image, read_plain_jpeg(image, max_pixels=max_pixels)
        if jpeg is not None:
            return OpenImage(
                jpeg.height,
                jpeg.width,
                lambda height, width, _: decode_jpeg_at_least(
                    encoded, jpeg, height=height, width=width, channels=channels
                ),
            )
        plain = read_plain_rows(encoded, channels=channels)
        if plain is not None:
            return _open_rows(encoded, plain, channels=channels, max_pixels=max_pixels)
        image = decode_image(encoded, channels=channels, max_pixels=max_pixels)
    decoded = image
    return OpenImage(decoded.shape[0], decoded.shape[1], lambda *_: decoded)


def _open_rows(image: bytes, plain: PlainRows, *, channels: int, max_pixels: int) -> OpenImage:
    check_pixels(plain.width, plain.height, max_pixels)

    def upper(_height: int, _width: int, rows: int) -> NDArray[np.uint8]:
        decoded = decode_rows(image, plain, rows=rows, channels=channels)
        if decoded is None:
            decoded = decode_image(image, channels=channels, max_pixels=max_pixels)
        return decoded

    return OpenImage(plain.height, plain.width, upper)

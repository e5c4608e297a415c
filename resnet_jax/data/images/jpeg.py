"""JPEGs to arrays with libjpeg-turbo, at a fraction of their size if that is enough.

The pixels are those of Pillow to the bit (both use libjpeg-turbo), at about 1.2 times its speed; at
a half, a quarter or an eighth of the size decoding is faster still.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.images.bad_image import BadImageError, check_pixels, refuse
from resnet_jax.data.images.bounds import scans_excess
from resnet_jax.data.images.orientation import FIRST_TURNED, jpeg_orientation, turn_upright
from resnet_jax.data.images.pillow import decode_with_pillow

_JPEG_SPACES = {1: "GRAY", 3: "RGB"}


class PlainJpeg(NamedTuple):
    """What the header of a JPEG says that libjpeg-turbo can decode.

    Attributes:
        height: Of the upright image, in pixels.
        width: Of the upright image, in pixels.
        orientation: How the image is stored: 1 to 8, as in EXIF.
    """

    height: int
    width: int
    orientation: int


def read_plain_jpeg(image: bytes, *, max_pixels: int = MAX_PIXELS) -> PlainJpeg | None:
    """Reads the header of a JPEG that needs no change of ink.

    Args:
        image: The content of an image file.
        max_pixels: Larger images are refused.

    Returns:
        Its size and orientation; None for other formats, CMYK and damaged headers: those are
        Pillow's.

    Raises:
        BadImageError: The image is too large, or takes too long to decode.
    """
    if image[:2] != b"\xff\xd8":
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(image)
    except ValueError:
        return None
    if space not in ("YCbCr", "Gray", "GRAY", "RGB"):
        return None
    check_pixels(width, height, max_pixels)
    refuse(scans_excess(image, pixels=width * height, max_pixels=max_pixels))
    orientation = jpeg_orientation(image)
    if orientation >= FIRST_TURNED:
        height, width = width, height
    return PlainJpeg(height, width, orientation)


def decode_jpeg_at_least(
    image: bytes, jpeg: PlainJpeg, *, height: int, width: int, channels: int = 3
) -> NDArray[np.uint8]:
    """Decodes a JPEG at the smallest of its scales (1, 1/2, 1/4, 1/8) that is not below a size.

    Args:
        image: The content of the file.
        jpeg: What `read_plain_jpeg` gives for it.
        height: The least height in pixels.
        width: The least width in pixels.
        channels: 1 for greyscale, 3 for RGB.

    Returns:
        uint8 array [height, width, channels], the whole upright image; where it had to be turned,
        as a view with other strides.

    Raises:
        BadImageError: The content is damaged.
    """
    factor = 8
    while factor > 1 and (jpeg.height < factor * height or jpeg.width < factor * width):
        factor //= 2
    stored = jpeg.height, jpeg.width
    if jpeg.orientation >= FIRST_TURNED:
        stored = jpeg.width, jpeg.height
    try:
        decoded = simplejpeg.decode_jpeg(
            image,
            colorspace=_JPEG_SPACES[channels],
            min_height=-(-stored[0] // factor),
            min_width=-(-stored[1] // factor),
            min_factor=factor,
        )
    except ValueError as error:
        if _tells_of_damage(str(error)):
            raise BadImageError(f"the file is damaged: {error}") from error
        return decode_with_pillow(image, channels=channels, max_pixels=jpeg.height * jpeg.width)
    return turn_upright(decoded, jpeg.orientation)


def _tells_of_damage(message: str) -> bool:
    """Tells damage from what libjpeg only remarks on, such as stray bytes after the image."""
    corrupt = message.startswith("Corrupt JPEG data") and "extraneous bytes" not in message
    return corrupt or message.startswith("Premature end")

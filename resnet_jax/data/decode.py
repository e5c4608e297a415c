"""Encoded image files to pixels (NumPy): JPEG with libjpeg-turbo, everything else with Pillow.

JPEG pixels are those of Pillow to the bit (both use libjpeg-turbo), at about 1.2 times its speed;
at a half, a quarter or an eighth of the size decoding is faster still.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.errors import ConfigError

_MODES = {1: "L", 3: "RGB"}
_JPEG_SPACES = {1: "GRAY", 3: "RGB"}
_ORIENTATION = 0x0112
_FIRST_TURNED = 5  # from here on the orientation swaps height and width


class BadImageError(ConfigError):
    """An image that cannot be used; the message is the reason, without the name of the file."""


class JpegSize(NamedTuple):
    """Height and width in pixels of a JPEG that libjpeg-turbo can decode as it lies."""

    height: int
    width: int


def decode_image(
    data: bytes, *, channels: int = 3, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decodes an image file: upright by its EXIF orientation, the first picture of several.

    Greyscale, palette, CMYK and 16-bit images are converted (16-bit levels are scaled, not cut
    off); transparency is dropped, as in `PIL.Image.convert("RGB")`.

    Args:
        data: The content of the file.
        channels: 1 for greyscale, 3 for RGB.
        max_pixels: Larger pictures are refused before they are decoded.

    Returns:
        uint8 array [height, width, channels].

    Raises:
        BadImageError: The content is empty, no image, damaged, truncated or too large.
    """
    if plain_jpeg_size(data, max_pixels=max_pixels) is not None:
        try:
            return simplejpeg.decode_jpeg(data, colorspace=_JPEG_SPACES[channels])
        except ValueError:
            pass  # strict about stray bytes that do no harm: Pillow tells these from damage
    return _decode_with_pillow(data, channels, max_pixels)


def decode_jpeg_at_least(
    data: bytes, size: JpegSize, *, height: int, width: int, channels: int = 3
) -> NDArray[np.uint8]:
    """Decodes a JPEG at the smallest of its scales (1, 1/2, 1/4, 1/8) that is not below a size.

    Args:
        data: The content of the file.
        size: What `plain_jpeg_size` gives for it.
        height: The least height in pixels.
        width: The least width in pixels.
        channels: 1 for greyscale, 3 for RGB.

    Returns:
        uint8 array [height, width, channels], the whole picture.

    Raises:
        BadImageError: The content is damaged.
    """
    factor = 8
    while factor > 1 and (size.height < factor * height or size.width < factor * width):
        factor //= 2
    try:
        return simplejpeg.decode_jpeg(
            data,
            colorspace=_JPEG_SPACES[channels],
            min_height=-(-size.height // factor),
            min_width=-(-size.width // factor),
            min_factor=factor,
        )
    except ValueError:  # as in `decode_image`
        return _decode_with_pillow(data, channels, size.height * size.width)


def image_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Reads the size of a picture from its header.

    Args:
        data: The content of an image file.
        max_pixels: Larger pictures are refused.

    Returns:
        Height and width in pixels of the upright picture.

    Raises:
        BadImageError: The content is empty, no image, or the picture is too large.
    """
    size = plain_jpeg_size(data, max_pixels=max_pixels)
    if size is not None:
        return size
    with _opened(data, max_pixels) as image:
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION, 1) >= _FIRST_TURNED
    return (width, height) if turned else (height, width)


def plain_jpeg_size(data: bytes, *, max_pixels: int = MAX_PIXELS) -> JpegSize | None:
    """Reads the size of a JPEG that needs neither turning nor a change of ink.

    Args:
        data: The content of an image file.
        max_pixels: Larger pictures are refused.

    Returns:
        Its size; None for other formats, CMYK, damaged headers, and files with EXIF data that turn
        the picture: those are Pillow's.

    Raises:
        BadImageError: The picture is too large.
    """
    if data[:2] != b"\xff\xd8":
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if space not in ("YCbCr", "Gray", "GRAY", "RGB"):
        return None
    _check_pixels(width, height, max_pixels)
    if b"Exif\0\0" in data[:65536]:
        with Image.open(io.BytesIO(data)) as image:
            if image.getexif().get(_ORIENTATION, 1) not in (0, 1):
                return None
    return JpegSize(height, width)


def _decode_with_pillow(data: bytes, channels: int, max_pixels: int) -> NDArray[np.uint8]:
    with _opened(data, max_pixels) as image:
        upright = ImageOps.exif_transpose(image)
        pixels = np.asarray(_eight_bit(upright).convert(_MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


@contextlib.contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Opens a file with Pillow and says what is wrong with it."""
    if max_pixels > (Image.MAX_IMAGE_PIXELS or max_pixels):
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit would come first
    if not data:
        raise BadImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as image:
            _check_pixels(*image.size, max_pixels)
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError(f"the picture is too large: {error}") from error
    except UnidentifiedImageError as error:
        raise BadImageError("the file is no image of a known format") from error
    except BadImageError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise BadImageError(f"the file is damaged: {reason}") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scales 16-bit levels to 8 bits, where Pillow would cut them off at 255."""
    if not image.mode.startswith("I"):
        if image.mode == "F":
            raise BadImageError("the pixels are floating-point numbers of unknown range")
        return image
    levels = np.asarray(image).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8))


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise BadImageError(
            f"the picture is too large: {width} x {height} pixels, and data.max_pixels={max_pixels}"
        )

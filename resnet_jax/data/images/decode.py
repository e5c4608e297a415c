"""Image files to arrays (NumPy): JPEG with libjpeg-turbo, everything else with Pillow.

JPEG pixels are those of Pillow to the bit (both use libjpeg-turbo), at about 1.2 times its speed;
at a half, a quarter or an eighth of the size decoding is faster still.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from resnet_jax.data.config import MAX_PIXELS
from resnet_jax.data.image_names import unread_content
from resnet_jax.data.images.bounds import decoding_excess, find_excess, scans_excess
from resnet_jax.data.images.levels import join_bytes, open_low_bytes, scale_levels
from resnet_jax.data.images.orientation import (
    FIRST_TURNED,
    ORIENTATION,
    jpeg_orientation,
    turn_upright,
)
from resnet_jax.errors import ConfigError

# Pillow warns of images above its own limit, which are compared with that of the recipe, and of
# each damaged field of EXIF data, of which one file may have thousands.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # Pillow's others are rarely tested

_MODES = {1: "L", 3: "RGB"}
_JPEG_SPACES = {1: "GRAY", 3: "RGB"}


class BadImageError(ConfigError):
    """An image that cannot be used; the message is the reason, without the name of the file."""


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
        return _decode_with_pillow(image, channels, max_pixels)
    decoded = decode_jpeg_at_least(
        image, jpeg, height=jpeg.height, width=jpeg.width, channels=channels
    )
    return np.ascontiguousarray(decoded)


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
        return _decode_with_pillow(image, channels, jpeg.height * jpeg.width)
    return turn_upright(decoded, jpeg.orientation)


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
    with _opened(image, max_pixels) as opened:
        width, height = opened.size
        # The size of a TIFF is that of the upright image already.
        turned = opened.format != "TIFF" and _orientation(opened) >= FIRST_TURNED
    return (width, height) if turned else (height, width)


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
    _refuse(scans_excess(image, pixels=width * height, max_pixels=max_pixels))
    orientation = jpeg_orientation(image)
    if orientation >= FIRST_TURNED:
        height, width = width, height
    return PlainJpeg(height, width, orientation)


def _tells_of_damage(message: str) -> bool:
    """Tells damage from what libjpeg only remarks on, such as stray bytes after the image."""
    corrupt = message.startswith("Corrupt JPEG data") and "extraneous bytes" not in message
    return corrupt or message.startswith("Premature end")


def _decode_with_pillow(image: bytes, channels: int, max_pixels: int) -> NDArray[np.uint8]:
    with _opened(image, max_pixels) as opened:
        return decode_opened(opened, channels=channels)


def decode_opened(opened: Image.Image, *, channels: int = 3) -> NDArray[np.uint8]:
    """Converts an image that Pillow has opened, as `decode_image` does.

    Args:
        opened: The image.
        channels: 1 for greyscale, 3 for RGB.

    Returns:
        uint8 array [height, width, channels].

    Raises:
        BadImageError: Its pixels cannot be converted.
    """
    eight_bit = _eight_bit(opened)
    orientation = _orientation(opened)
    decoded = np.asarray(eight_bit.convert(_MODES[channels]))
    decoded = decoded.reshape(*decoded.shape[:2], channels)
    return np.ascontiguousarray(turn_upright(decoded, orientation))


def _orientation(opened: Image.Image) -> int:
    exif = opened.info.get("exif")
    if isinstance(exif, bytes) and find_excess(exif.removeprefix(b"Exif\0\0")):
        return 1
    try:
        value = opened.getexif().get(ORIENTATION)
    except Exception:  # as in `jpeg_orientation`: the image is there all the same
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextlib.contextmanager
def _opened(image: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Opens a file with Pillow and says what is wrong with it."""
    if max_pixels > (Image.MAX_IMAGE_PIXELS or max_pixels):
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit would come first
    if not image:
        raise BadImageError("the file is empty")
    _refuse(find_excess(image))
    try:
        with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
            check_pixels(*opened.size, max_pixels)
            _refuse(decoding_excess(opened, image, max_pixels=max_pixels))
            yield opened
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = f"more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise BadImageError(_too_large(size, max_pixels)) from error
    except UnidentifiedImageError as error:
        reason = unread_content(image) or "the file is no image of a known format"
        raise BadImageError(reason) from error
    except BadImageError:
        raise
    except MemoryError as error:
        raise BadImageError("decoding it needs more memory than there is") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        reason = " ".join(str(error).split())
        raise BadImageError(f"the file is damaged: {reason}") from error


def _eight_bit(opened: Image.Image) -> Image.Image:
    """Scales 16-bit levels to 8 bits, where Pillow would cut them off."""
    if opened.mode == "F":
        raise BadImageError("the pixels are floating-point numbers of unknown range")
    low = open_low_bytes(opened)
    opened.load()  # which turns a TIFF upright, and takes its orientation away
    if low is not None:
        return scale_levels(join_bytes(opened, low))
    if opened.mode.startswith("I"):
        return scale_levels(np.asarray(opened).clip(0, 65535).astype(np.uint32))
    return opened


def _refuse(reason: str) -> None:
    if reason:
        raise BadImageError(reason)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuses an image of too many pixels.

    Raises:
        BadImageError: It is too large.
    """
    if width * height > max_pixels:
        raise BadImageError(_too_large(f"{width} x {height} pixels", max_pixels))


def _too_large(size: str, max_pixels: int) -> str:
    return f"the image is too large: {size}, and data.max_pixels={max_pixels}"

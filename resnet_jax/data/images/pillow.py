"""Image files to arrays with Pillow, and what is wrong with those that it cannot read."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from resnet_jax.data.image_names import unread_content
from resnet_jax.data.images.bad_image import BadImageError, check_pixels, refuse, too_large
from resnet_jax.data.images.bounds import decoding_excess, find_excess
from resnet_jax.data.images.levels import read_levels, scale_levels
from resnet_jax.data.images.orientation import ORIENTATION, turn_upright

# Pillow warns of images above its own limit, which are compared with that of the recipe, and of
# each damaged field of EXIF data, of which one file may have thousands.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")  # Pillow's others are rarely tested
_MODES = {1: "L", 3: "RGB"}


def decode_with_pillow(image: bytes, *, channels: int, max_pixels: int) -> NDArray[np.uint8]:
    """Decodes an image file of any format, as `decode_image` does."""
    with open_with_pillow(image, max_pixels) as opened:
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
    orientation = stored_orientation(opened)
    decoded = np.asarray(eight_bit.convert(_MODES[channels]))
    decoded = decoded.reshape(*decoded.shape[:2], channels)
    return np.ascontiguousarray(turn_upright(decoded, orientation))


def stored_orientation(opened: Image.Image) -> int:
    """Returns how Pillow's image is stored: 1 to 8, as in EXIF."""
    exif = opened.info.get("exif")
    if isinstance(exif, bytes) and find_excess(exif.removeprefix(b"Exif\0\0")):
        return 1
    try:
        value = opened.getexif().get(ORIENTATION)
    except Exception:  # as in `jpeg_orientation`: the image is there all the same
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


@contextlib.contextmanager
def open_with_pillow(image: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Opens a file with Pillow and says what is wrong with it."""
    if max_pixels > (Image.MAX_IMAGE_PIXELS or max_pixels):
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit would come first
    if not image:
        raise BadImageError("the file is empty")
    refuse(find_excess(image))
    try:
        with Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
            check_pixels(*opened.size, max_pixels)
            refuse(decoding_excess(opened, image, max_pixels=max_pixels))
            yield opened
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        size = f"more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise BadImageError(too_large(size, max_pixels)) from error
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
    levels = read_levels(opened)
    opened.load()  # which turns a TIFF upright, and takes its orientation away
    if levels is not None:
        return scale_levels(levels)
    if opened.mode.startswith("I"):
        return scale_levels(np.asarray(opened).clip(0, 65535).astype(np.uint32))
    return opened

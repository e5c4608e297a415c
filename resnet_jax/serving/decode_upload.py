"""Decodes uploaded bytes to the pixels that a network expects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.decode import image_size
from resnet_jax.inference.image_files import prepare_image
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.serving.forms import HOW_TO_SEND, file_of_request
from resnet_jax.serving.limits import Limits, RequestError

FORMATS = "JPEG, PNG, GIF, WebP or BMP"

# Pillow reads many more formats; some start other programs (EPS) or are rarely tested.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")


def read_upload(
    body: bytes, inputs: NetworkInputs, limits: Limits, *, content_type: str = ""
) -> NDArray[np.uint8]:
    """Decodes an uploaded image, and resizes and crops it for a network.

    Args:
        body: The content of the file, or a form with it.
        inputs: What the network expects; its size is not None.
        limits: The most pixels.
        content_type: What the request says of its body; only a form matters.

    Returns:
        uint8 [size, size, channels].

    Raises:
        RequestError: It is not an image in one of `FORMATS` (415), or it is too large (413).
    """
    data = file_of_request(body, content_type)
    if not _looks_like_an_image(data):
        raise RequestError(415, f"this is not an image: send a {FORMATS} file {HOW_TO_SEND}")
    try:
        height, width = image_size(data)
        _check_size(height, width, inputs, limits)
        return prepare_image(data, inputs)
    except BadImageError as error:
        raise RequestError(415, " ".join(str(error).split())) from None


def _looks_like_an_image(data: bytes) -> bool:
    return data.startswith(_BEGINNINGS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _check_size(height: int, width: int, inputs: NetworkInputs, limits: Limits) -> None:
    # The shorter side is resized to a fixed length: a line of pixels would grow to gigabytes.
    shorter = (inputs.size or 1) / inputs.crop_fraction
    resized = shorter**2 * max(height, width) / max(min(height, width), 1)
    if max(height * width, resized) > limits.image_pixels:
        raise RequestError(
            413,
            f"the image has {width} x {height} pixels: too many, or too many once its shorter side "
            f"is resized; the limit is {limits.image_pixels} pixels",
        )

import struct
import zlib

import numpy as np
import pytest

from resnet_jax.inference.image_files import prepare_image
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.serving.decode_upload import read_upload
from resnet_jax.serving.limits import Limits, RequestError
from tests.serving.conftest import encode

INPUTS = NetworkInputs(size=64, crop_fraction=0.875)


def refused(data, limits=Limits()):  # noqa: B008
    with pytest.raises(RequestError) as caught:
        read_upload(data, INPUTS, limits)
    assert "\n" not in caught.value.reason
    return caught.value.status


def test_photos_are_prepared_as_everywhere(photos):
    for data in photos:
        found = read_upload(data, INPUTS, Limits())
        np.testing.assert_array_equal(found, prepare_image(data, INPUTS))
        assert found.shape == (64, 64, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"II*\0" + b"\0" * 64,
        b"RIFF\0\0\0\0WAVE",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"BM",
    ],
)
def test_what_is_no_photo_is_refused(data):
    assert refused(data) == 415


def test_damaged_photos_are_refused(photos):
    for data in photos:
        assert refused(data[: len(data) // 2]) == 415


def claiming(width, height):
    """A PNG of a hundred bytes that says how large it is."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") * 2


@pytest.mark.parametrize("shape", [(20_000, 20_000), (2**31 - 1, 2**31 - 1), (10_000, 4001)])
def test_the_size_is_checked_before_the_photo_is_unfolded(shape):
    assert refused(claiming(*shape)) in (413, 415)


def test_a_line_of_pixels_does_not_unfold_while_it_is_resized():
    line = encode(np.zeros((1, 30_000, 3), np.uint8))
    assert refused(line) == 413
    assert refused(encode(np.zeros((30_000, 1, 3), np.uint8))) == 413


def test_the_limit_is_the_callers(photos):
    assert refused(photos[0], Limits(image_pixels=599)) == 413

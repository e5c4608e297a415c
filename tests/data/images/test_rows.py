import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.record import open_image
from resnet_jax.data.images.rows import decode_rows, read_plain_rows

KINDS = [
    ("PNG", "RGB", 3, {}),
    ("PNG", "RGBA", 3, {}),
    ("PNG", "L", 3, {}),
    ("PNG", "L", 1, {}),
    ("WEBP", "RGB", 3, {"quality": 70}),
    ("WEBP", "RGB", 3, {"quality": 5, "method": 0}),
]


def encoded(kind, mode="RGB", **options):
    rows, columns = np.mgrid[:83, :61]
    noise = np.random.default_rng(0).integers(40, size=(83, 61, 4))
    pixels = np.stack([rows * 2, columns * 3, rows + columns, columns * 4], axis=-1) + noise
    buffer = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGBA")
    image.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "mode", "channels", "options"), KINDS)
@pytest.mark.parametrize("rows", [1, 16, 17, 50, 82, 83])
def test_upper_rows_are_pillows(kind, mode, channels, options, rows):
    file = encoded(kind, mode, **options)
    plain = read_plain_rows(file, channels=channels)
    assert plain is not None
    assert (plain.height, plain.width) == (83, 61)
    decoded = decode_rows(file, plain, rows=rows, channels=channels)
    whole = decode_image(file, channels=channels)
    assert decoded.shape[0] < rows + 33  # and no more rows than a block or two
    np.testing.assert_array_equal(decoded[:rows], whole[:rows])
    if mode == "RGB":
        opened = open_image(file, channels=channels, max_pixels=10**6)
        np.testing.assert_array_equal(opened.whole(), whole)


EXIF = Image.Exif()
EXIF[0x0112] = 6


@pytest.mark.parametrize(
    ("kind", "mode", "channels", "options"),
    [
        ("PNG", "RGB", 1, {}),
        ("PNG", "P", 3, {}),
        ("PNG", "1", 1, {}),
        ("PNG", "LA", 3, {}),
        ("WEBP", "RGB", 1, {}),
        ("WEBP", "RGBA", 3, {}),
        ("WEBP", "RGB", 3, {"lossless": True}),
        ("WEBP", "RGB", 3, {"exif": EXIF}),
        ("GIF", "RGB", 3, {}),
        ("BMP", "RGB", 3, {}),
    ],
)
def test_what_has_to_be_converted_or_turned_is_left_to_pillow(kind, mode, channels, options):
    assert read_plain_rows(encoded(kind, mode, **options), channels=channels) is None


@pytest.mark.parametrize("options", [{"exif": EXIF}, {"transparency": (1, 2, 3)}])
def test_pngs_with_an_orientation_or_transparency_are_decoded_by_pillow(options):
    file = encoded("PNG", **options)
    opened = open_image(file, channels=3, max_pixels=10**6)
    np.testing.assert_array_equal(opened.whole(), decode_image(file))


def damaged(file, how, rng):
    if how == "truncated":
        return file[: rng.integers(34, len(file) - 12)]
    changed = bytearray(file)
    changed[rng.integers(34, len(file) - 12)] ^= 1 << rng.integers(8)
    return bytes(changed)


@pytest.mark.parametrize(("kind", "mode", "channels", "options"), KINDS)
@pytest.mark.parametrize("how", ["truncated", "changed"])
def test_damage_is_found_where_pillow_finds_it(kind, mode, channels, options, how):
    rng = np.random.default_rng(3)
    for _ in range(20):
        file = damaged(encoded(kind, mode, **options), how, rng)
        try:
            expected = decode_image(file, channels=channels)
        except BadImageError as error:
            with pytest.raises(BadImageError, match=re.escape(str(error))):
                open_image(file, channels=channels, max_pixels=10**6).whole()
        else:
            whole = open_image(file, channels=channels, max_pixels=10**6).whole()
            np.testing.assert_array_equal(whole, expected)


def test_a_png_that_unpacks_to_more_is_read_no_further():
    """As many bytes are unpacked as the rows have, whatever follows."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(10) + bytes(10**6)))
    file = b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")
    assert not open_image(file, channels=1, max_pixels=100).whole().any()


def test_the_limit_on_pixels_holds():
    for kind in ("PNG", "WEBP"):
        with pytest.raises(BadImageError, match=r"61 x 83 pixels, and data.max_pixels=5000"):
            open_image(encoded(kind), channels=3, max_pixels=5000)

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.decode import decode_image, image_size
from resnet_jax.data.images.jpeg import decode_jpeg_at_least, read_plain_jpeg


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photo():
    """A smooth photo of 40 x 30 pixels, brightest at the top left."""
    rows, columns = np.mgrid[:30, :40]
    return np.stack([250 - 4 * rows, 250 - 5 * columns, 100 + rows + columns], axis=-1).astype(
        np.uint8
    )


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_equals_pillow(photo, mode, channels):
    data = encoded(Image.fromarray(photo).convert(mode), "JPEG", quality=90)
    pixels = decode_image(data, channels=channels)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert({1: "L", 3: "RGB"}[channels]))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (30, 40, channels)
    # Grey is the JPEG's own luma; Pillow goes through RGB and rounds twice.
    limit = 0 if channels == 3 else 1
    assert np.abs(pixels.astype(int) - expected.reshape(pixels.shape)).max() <= limit


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_turns_the_photo_upright(photo, orientation, kind):
    stored = {
        1: photo,
        2: photo[:, ::-1],
        3: photo[::-1, ::-1],
        4: photo[::-1],
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo),
        7: photo[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(photo, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
    pixels = decode_image(data)
    assert pixels.shape == photo.shape
    assert np.abs(pixels.astype(int) - photo).max() <= (12 if kind == "JPEG" else 0)
    assert image_size(data) == (30, 40)
    if kind == "JPEG":
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(pixels, np.asarray(ImageOps.exif_transpose(image)))


def tiff(order, *, orientation, kind="H", number=3):
    entry = struct.pack(f"{order}HHI{kind}", 0x0112, number, 1, orientation)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return head + struct.pack(f"{order}IH", 8, 1) + entry.ljust(12, b"\0") + b"\0" * 4


@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (tiff("<", orientation=6), True),
        (tiff(">", orientation=6), True),
        (tiff(">", orientation=6, kind="I", number=4), True),
        (tiff("<", orientation=77), False),
        (tiff("<", orientation=6)[:-10], False),
        (tiff("<", orientation=6)[:9], False),
        (b"nothing that could be read", False),
        (b"", False),
    ],
)
def test_exif_data_that_cannot_be_read_do_no_harm(photo, exif, turned):
    data = encoded(Image.fromarray(photo), "JPEG")
    body = b"Exif\0\0" + exif
    segment = b"\xff\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    expected = decode_image(data)
    pixels = decode_image(data[:2] + segment + data[2:])
    np.testing.assert_array_equal(pixels, np.rot90(expected, -1) if turned else expected)


def test_other_formats_and_modes(photo):
    image = Image.fromarray(photo)
    palette = image.quantize(16)
    np.testing.assert_array_equal(
        decode_image(encoded(palette, "PNG")), np.asarray(palette.convert("RGB"))
    )
    np.testing.assert_array_equal(decode_image(encoded(image, "WEBP", lossless=True)), photo)
    with_alpha = image.convert("RGBA")
    with_alpha.putalpha(7)
    np.testing.assert_array_equal(decode_image(encoded(with_alpha, "PNG")), photo)
    black_and_white = decode_image(encoded(image.convert("1"), "PNG"), channels=1)
    assert set(np.unique(black_and_white)) <= {0, 255}


def test_16_bit_levels_are_scaled():
    levels = np.array([[0, 128, 129, 255, 256, 32768, 65535]], np.uint16)
    pixels = decode_image(encoded(Image.fromarray(levels), "PNG"), channels=1)
    np.testing.assert_array_equal(pixels[0, :, 0], np.rint(levels[0] / 257).astype(np.uint8))
    assert decode_image(encoded(Image.fromarray(levels), "PNG"))[0, -1].tolist() == [255] * 3


@pytest.mark.parametrize(
    ("least", "shape"), [(30, 30), (20, 30), (15, 15), (8, 15), (7, 8), (2, 4)]
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(photo, least, shape):
    data = encoded(Image.fromarray(photo), "JPEG", quality=95)
    pixels = decode_jpeg_at_least(data, read_plain_jpeg(data), height=least, width=1)
    assert pixels.shape[0] == shape
    factor = 30 / shape
    small = np.asarray(Image.fromarray(photo).resize(pixels.shape[1::-1], Image.Resampling.BOX))
    assert np.abs(pixels.astype(int) - small).mean() < 2 + factor


def test_stray_bytes_in_a_jpeg_do_no_harm(photo):
    data = encoded(Image.fromarray(photo), "JPEG", quality=95)
    np.testing.assert_array_equal(decode_image(data[:-2] + b"xx" + data[-2:]), decode_image(data))


def huge_png(width, height):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as the module does
@pytest.mark.parametrize(
    ("size", "named"), [((9500, 9500), "9500 x 9500"), ((60000, 60000), "more than 89478485")]
)
def test_a_decompression_bomb_is_refused(size, named):
    message = f"the image is too large: {named} pixels, and data.max_pixels=89478485"
    with pytest.raises(BadImageError, match=message):
        decode_image(huge_png(*size))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_huge_photo_is_refused_before_it_is_decoded(photo, kind):
    data = encoded(Image.fromarray(photo), kind)
    with pytest.raises(BadImageError, match=r"40 x 30 pixels, and data\.max_pixels=1199"):
        decode_image(data, max_pixels=1199)
    assert decode_image(data, max_pixels=1200).shape == (30, 40, 3)


def test_a_recipe_may_allow_more_than_pillow_does(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = encoded(Image.fromarray(photo), "PNG")
    assert decode_image(data, max_pixels=1200).shape == (30, 40, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_file_is_refused(photo, kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(BadImageError, match=r"damaged|no image"):
        decode_image(data[: len(data) // 2])
    with pytest.raises(BadImageError):
        decode_image(data[:20])


def test_a_jpeg_with_a_hole_is_refused():
    """Pillow gives grey for what is missing, and says nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    with pytest.raises(BadImageError, match="the file is damaged: Corrupt JPEG data: premature"):
        decode_image(data[: len(data) // 2] + data[-2:])


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"%PDF-1.4 hello", "no image")])
def test_what_is_no_image_is_refused(data, reason):
    with pytest.raises(BadImageError, match=reason):
        decode_image(data)


def test_float_pixels_are_refused():
    with pytest.raises(BadImageError, match="floating-point"):
        decode_image(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not read; convert it to JPEG"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF is not read; convert it to JPEG"),
        (b"<?xml version='1.0'?><svg xmlns='x'/>", "SVG is not read; draw it as PNG"),
    ],
)
def test_formats_that_are_not_read_are_named(content, message):
    with pytest.raises(BadImageError, match=message):
        decode_image(content)


def png_of_grey_and_alpha(levels):
    """Writes a PNG of 16 bits a level, which neither Pillow nor OpenCV writes with alpha."""
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff_of_four(levels, order, *, ink, extra=()):
    """Writes a TIFF of four samples of 16 bits, as CMYK or with an alpha channel."""
    mark, height, width = {"<": b"II", ">": b"MM"}[order], *levels.shape[:2]
    fields = [(256, 4, [width]), (257, 4, [height]), (258, 3, [16] * 4), (259, 3, [1])]
    fields += [(262, 3, [ink]), (273, 4, [0]), (277, 3, [4]), (278, 4, [height])]
    fields += [(279, 4, [levels.nbytes])] + [(338, 3, [one]) for one in extra]
    after = 8 + 2 + 12 * len(fields) + 4
    entries = b""
    for tag, kind, values in fields:
        place = {258: [after], 273: [after + 8]}.get(tag, values)
        letter = "I" if kind == 4 or tag == 258 else "H"
        value = struct.pack(order + letter * len(place), *place).ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + value
    head = mark + struct.pack(order + "HIH", 42, 8, len(fields)) + entries + bytes(4)
    return head + struct.pack(order + "4H", *[16] * 4) + levels.astype(order + "u2").tobytes()


def levels_of(channels):
    levels = np.random.default_rng(0).integers(65536, size=(9, 7, channels), dtype=np.uint16)
    levels[0, :5, 0] = 0, 255, 256, 65407, 65535
    return levels


def scaled(levels):
    return ((levels.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


def test_sixteen_bits_of_grey_with_alpha_are_scaled():
    levels = levels_of(2)
    pixels = decode_image(png_of_grey_and_alpha(levels), channels=1)
    np.testing.assert_array_equal(pixels, scaled(levels[..., :1]))
    pixels = decode_image(png_of_grey_and_alpha(levels))
    np.testing.assert_array_equal(pixels, scaled(levels[..., [0, 0, 0]]))


@pytest.mark.parametrize("order", "<>")
def test_sixteen_bits_of_an_ink_are_scaled(order):
    levels = levels_of(4)
    expected = Image.frombytes("CMYK", (7, 9), scaled(levels).tobytes()).convert("RGB")
    pixels = decode_image(tiff_of_four(levels, order, ink=5))
    np.testing.assert_array_equal(pixels, np.asarray(expected))


@pytest.mark.parametrize("order", "<>")
def test_sixteen_bits_of_a_colour_times_alpha_are_scaled(order):
    levels = levels_of(4)
    levels[1, :3, 3] = 0, 1, 65535
    straight = levels[..., :3].astype(np.int64) * 65535 // np.maximum(levels[..., 3:], 1)
    pixels = decode_image(tiff_of_four(levels, order, ink=2, extra=(1,)))
    np.testing.assert_array_equal(pixels, scaled(straight.clip(0, 65535)))


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("colours", [3, 4])
def test_sixteen_bits_of_a_colour_are_scaled(kind, colours):
    levels = levels_of(colours)
    written = levels[..., [2, 1, 0, 3][:colours]]  # OpenCV writes blue first
    data = cv2.imencode(f".{kind}", written)[1].tobytes()
    expected = scaled(levels[..., :3])
    np.testing.assert_array_equal(decode_image(data), expected)
    grey = np.asarray(Image.fromarray(expected).convert("L"))
    np.testing.assert_array_equal(decode_image(data, channels=1)[..., 0], grey)

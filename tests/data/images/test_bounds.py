"""Files that ask for more time or memory than their pixels are worth."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.bounds import MAX_BYTES, find_excess, scans_excess
from resnet_jax.data.images.decode import decode_image, image_size

NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind, **options)
    return buffer.getvalue()


JPEG = encoded("JPEG")
PROGRESSIVE = encoded("JPEG", progressive=True)
PNG = encoded("PNG")
GIF = encoded("GIF")
AFTER_APP0 = 20  # where the first segment of Pillow's JPEGs ends
AFTER_PALETTE = 13 + 3 * 256  # of Pillow's GIFs
AFTER_IHDR = 33


def inside(image, at, content):
    return image[:at] + content + image[at:]


def with_scans(image, more):
    """Repeats the last scan."""
    start, end = image.rindex(b"\xff\xda"), image.rindex(b"\xff\xd9")
    return image[:end] + image[start:end] * more + image[end:]


def baseline_with_scans(count):
    """A baseline JPEG whose scans hold one of three components each."""
    scan = JPEG.index(b"\xff\xda")
    one = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0" + b"\xaa" * 50
    return JPEG[:scan] + one * count + b"\xff\xd9"


def chunk(kind, content):
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def tiff(fields, *, order="<", data=b""):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(fields))
    return (
        head + b"".join(struct.pack(order + "HHII", *field) for field in fields) + bytes(4) + data
    )


def big_tiff(fields):
    head = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, len(fields))
    return head + b"".join(struct.pack("<HHQQ", *field) for field in fields) + bytes(8)


def run_length_bmp(width, height, runs):
    start = 14 + 40 + 1024
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 256)
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + head + bytes(1024) + runs


HOSTILE = {
    "scans": (with_scans(PROGRESSIVE, 500), "more than 500 scans over 2000 pixels"),
    "baseline scans": (baseline_with_scans(501), "more than 500 scans over 2000 pixels"),
    "fill bytes": (inside(JPEG, AFTER_APP0, b"\xff" * 10**6), "more than 65536 stray bytes"),
    "fill bytes only": (b"\xff\xd8" + b"\xff" * 10**6, "more than 65536 stray bytes"),
    "escaped bytes": (inside(JPEG, AFTER_APP0, b"\xff\0" * 10**6), "more than 65536 stray bytes"),
    "junk": (inside(JPEG, AFTER_APP0, b"junk" * 10**5), "more than 65536 stray bytes"),
    "comments": (inside(JPEG, AFTER_APP0, b"\xff\xfe\0\x02" * 10**5), "more than 1392 segments"),
    "markers": (inside(JPEG, AFTER_APP0, b"\xff\xd0" * 10**5), "more than 1197 segments"),
    "damaged": (JPEG[:AFTER_APP0] + b"\xff\xec\0\x02" * 10**5, "more than 1390 segments"),
    "png chunks": (inside(PNG, AFTER_IHDR, chunk(b"teXt", b"") * 10**5), r"more than \d+ chunks"),
    "gif blocks": (inside(GIF, AFTER_PALETTE, b"!\xfe\x01a\0" * 10**5), "blocks before its image"),
    "gif junk": (inside(GIF, AFTER_PALETTE, b"\0" * 10**6), "blocks before its image"),
    "gif without image": (GIF[:AFTER_PALETTE] + b"\0" * 10**6, "the GIF has no image in it"),
    "tiff strips": (tiff([(273, 4, 262_264, 8)]), "262264 strips or tiles, the limit is 65536"),
    "big tiff": (big_tiff([(324, 16, 2**40, 8)]), "1099511627776 strips or tiles"),
    "tiff fields": (b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 2**40), "fields, the limit"),
    "tiff values": (tiff([(700 + n, 7, 900, 8) for n in range(99)]), "claim more bytes than"),
    "tiff tiles": (tiff([(322, 4, 1, 2**20), (323, 4, 1, 2**20)]), "1048576 x 1048576 pixels"),
    "tiff short tiles": (
        tiff([(322, 3, 1, 60_000 << 16), (323, 3, 1, 60_000 << 16)], order=">"),
        "tiles of 60000 x 60000 pixels",
    ),
    "bmp pixels": (run_length_bmp(2**12, 2**11, b"\x01\x01\0\0"), "run-length encoded"),
    "bmp runs": (run_length_bmp(9, 9, b"\x01\x01" * 2**22), "run-length encoded"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_would_take_too_long_is_refused_before_it_is_decoded(kind):
    image, reason = HOSTILE[kind]
    for read in (decode_image, image_size):
        with pytest.raises(BadImageError, match=reason) as caught:
            read(image)
        assert "\n" not in str(caught.value)


HARMLESS = {
    "progressive": PROGRESSIVE,
    "more scans": with_scans(PROGRESSIVE, 100),
    "restarts": encoded("JPEG", restart_marker_blocks=1),
    "a profile of many segments": encoded("JPEG", icc_profile=bytes(10**6)),
    "scans in a thumbnail": inside(JPEG, AFTER_APP0, b"\xff\xe1\x0b\xba" + b"\xff\xda\0\x02" * 750),
    "fill bytes": inside(JPEG, AFTER_APP0, b"\xff" * 1000),
    "bytes after the end": JPEG + b"\xff" * 10**6,
    "png": PNG,
    "png chunks": inside(PNG, AFTER_IHDR, chunk(b"teXt", b"") * 900),
    "gif": GIF,
    "gif comment": inside(GIF, AFTER_PALETTE, b"!\xfe" + (b"\xff" + b"a" * 255) * 9000 + b"\0"),
    "tiff": encoded("TIFF"),
    "packed tiff": encoded("TIFF", compression="tiff_lzw"),
    "big tiff": encoded("TIFF", big_tiff=True),
    "bmp": encoded("BMP"),
    "run-length encoded bmp": run_length_bmp(8, 8, b"\x08\x01\0\0" * 8),
    "webp": encoded("WEBP"),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_encoders_write_is_read(kind):
    assert find_excess(HARMLESS[kind]) == ""
    assert decode_image(HARMLESS[kind]).shape[:2] in {(40, 50), (8, 8)}


def test_scans_are_weighed_with_the_pixels():
    pixels = 40_000_000
    for scans, fits in ((26, True), (27, False)):
        image = with_scans(PROGRESSIVE, scans - PROGRESSIVE.count(b"\xff\xda"))
        assert (scans_excess(image, pixels=pixels, max_pixels=1) == "") == fits
    # Who allows larger images allows them as many scans.
    assert scans_excess(PROGRESSIVE, pixels=10**9, max_pixels=10**9) == ""


def test_an_end_inside_of_a_segment_hides_no_scans():
    hidden = b"\xff\xfe\0\x04\xff\xd9"
    scan = PROGRESSIVE.rindex(b"\xff\xda")
    with pytest.raises(BadImageError, match="more than 500 scans"):
        decode_image(with_scans(inside(PROGRESSIVE, scan, hidden), 500))


def test_a_file_larger_than_any_image_is_not_looked_at():
    assert find_excess(bytes(MAX_BYTES + 1)) == (
        f"the file has {MAX_BYTES + 1} bytes, the limit is {MAX_BYTES}"
    )


def test_exif_data_that_claim_too_much_are_left_alone():
    exif = tiff([(700 + n, 7, 900, 8) for n in range(99)])
    image = inside(PNG, AFTER_IHDR, chunk(b"eXIf", exif))
    np.testing.assert_array_equal(decode_image(image), NOISE)


@pytest.mark.skipif("RESNET_JAX_SHARED" not in os.environ, reason="needs the shared files")
def test_a_photo_of_1000_scans_is_refused():
    path = Path(os.environ["RESNET_JAX_SHARED"]) / "cases" / "images" / "jpgscans1000.jpg"
    with pytest.raises(BadImageError, match="more than 27 scans over 39690000 pixels"):
        decode_image(path.read_bytes())

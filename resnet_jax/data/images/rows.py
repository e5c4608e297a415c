"""PNG and WebP files read from the top down to a row, for crops that need no more of them.

Only plain files, those without an orientation in which Pillow and OpenCV see the same pixels. Of
these OpenCV decodes any number of upper rows sooner than Pillow decodes all of them; the pixels are
Pillow's. What is refused here is left to Pillow, which says why.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.bounds import find_excess


def _inflater() -> Any:
    """Returns isal's zlib, which is twice as fast; Python's where there is none."""
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:  # processors other than those of x86 and ARM
        return zlib


_ZLIB = _inflater()

_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
_CHUNK = struct.Struct(">I4s")
_SAMPLES = {0: 1, 2: 3, 6: 4}  # by the PNG's kind of colour: grey, RGB, RGBA
_NOT_PLAIN = frozenset({b"eXIf", b"tRNS", b"acTL"})
_MOST_PIXELS = 2**24
"""Above it Pillow needs less memory: the rows are unpacked here before they are decoded."""

_BLOCK_BYTES = 0xFFFF  # the longest of a stream that is not packed

_KEY_FRAME = b"\x9d\x01\x2a"
_BLOCK_ROWS = 16

_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
_READ_AS = {1: cv2.IMREAD_GRAYSCALE | _AS_STORED, 3: cv2.IMREAD_COLOR_RGB | _AS_STORED}


class PlainRows(NamedTuple):
    """What the header of a plain PNG or WebP says.

    Attributes:
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        samples: Bytes a pixel of a PNG; 0 for a WebP.
    """

    height: int
    width: int
    samples: int


def read_plain_rows(image: bytes, *, channels: int) -> PlainRows | None:
    """Reads the header of a PNG or WebP whose upper rows `decode_rows` can decode.

    Args:
        image: The content of an image file.
        channels: 1 for greyscale, 3 for RGB; a file that has to be converted is not plain, except
            for grey that becomes RGB.

    Returns:
        Its size; None for other files, and for headers that are damaged.
    """
    if image[:8] == _PNG and image[12:16] == b"IHDR" and len(image) > 33:
        width, height, depth, colour, *rest = _HEADER.unpack_from(image, 16)
        samples = _SAMPLES.get(colour, 0)
        if depth != 8 or any(rest) or not samples or (channels == 1 and samples != 1):
            return None
        plain = PlainRows(height, width, samples)
    elif image[:4] == b"RIFF" and image[8:16] == b"WEBPVP8 " and image[23:26] == _KEY_FRAME:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", image, 26))
        plain = PlainRows(height, width, 0)
        if channels == 1:
            return None
    else:
        return None
    return plain if 0 < height * width <= _MOST_PIXELS else None


def decode_rows(
    image: bytes, plain: PlainRows, *, rows: int, channels: int
) -> NDArray[np.uint8] | None:
    """Decodes the upper rows of a file.

    Args:
        image: The content of the file.
        plain: What `read_plain_rows` gives for it.
        rows: How many, from the top.
        channels: 1 for greyscale, 3 for RGB.

    Returns:
        uint8 [rows or more, width, channels]; None for a file that is damaged or not plain.
    """
    rows = min(rows, plain.height)
    part = _png_of_rows(image, plain, rows) if plain.samples else _webp_of_rows(image, plain, rows)
    if part is None:
        return None
    try:
        decoded = cv2.imdecode(np.frombuffer(part, np.uint8), _READ_AS[channels])
    except cv2.error:
        return None
    if decoded is None or len(decoded) < rows or decoded.shape[1] != plain.width:
        return None
    return np.asarray(decoded, np.uint8).reshape(*decoded.shape[:2], channels)


def _png_of_rows(image: bytes, plain: PlainRows, rows: int) -> bytes | None:
    """Makes a PNG of the upper rows, unpacked: the part of decoding in which OpenCV is slow."""
    packed = None if find_excess(image) else _packed_pixels(image)
    if packed is None:
        return None
    size = rows * (plain.width * plain.samples + 1)
    try:
        filtered = _ZLIB.decompressobj().decompress(packed, size)
    except _ZLIB.error:
        return None
    if len(filtered) != size:
        return None
    header = struct.pack(">II", plain.width, rows) + image[24:29]
    pixels = _stored(filtered)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _packed_pixels(image: bytes) -> bytes | None:
    """Joins the IDAT chunks of a PNG, and compares their checksums as Pillow does."""
    at, parts, view = len(_PNG), [], memoryview(image)
    while at + _CHUNK.size <= len(image):
        length, kind = _CHUNK.unpack_from(image, at)
        if kind in _NOT_PLAIN:
            return None
        end = at + _CHUNK.size + length
        if kind in (b"IHDR", b"IDAT"):
            if _ZLIB.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
                return None
            if kind == b"IDAT":
                parts.append(view[at + _CHUNK.size : end])
        elif parts:
            break  # the chunks of the pixels stand next to each other
        at = end + 4
    return b"".join(parts)


def _stored(content: bytes) -> bytes:
    """Writes a stream of zlib that is not packed, in less time than `zlib.compress` at level 0."""
    view = memoryview(content)
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for at in range(0, len(content), _BLOCK_BYTES):
        block = view[at : at + _BLOCK_BYTES]
        last = at + _BLOCK_BYTES >= len(content)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", _ZLIB.adler32(content))])


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", _ZLIB.crc32(body))


def _webp_of_rows(image: bytes, plain: PlainRows, rows: int) -> bytes:
    """Writes a smaller height into the header of the frame; the decoder then stops there.

    Rows of blocks are coded from the top. One more than needed is decoded, since the filter of the
    edges and the enlarging of the colours look below.
    """
    height = min((-(-rows // _BLOCK_ROWS) + 1) * _BLOCK_ROWS, plain.height)
    scale = image[29] & 0xC0
    return image[:28] + bytes([height & 0xFF, height >> 8 | scale]) + image[30:]

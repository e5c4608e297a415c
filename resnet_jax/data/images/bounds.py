"""What a file may ask of a decoder: parts that cost time whatever the size of the image.

A limit on pixels does not bound the time: a JPEG may hold any number of scans over the same pixels,
and Pillow reads headers, blocks and runs byte by byte in Python. Each check here takes a few
milliseconds at most for a file of 10 MB, and none looks at the pixels of a JPEG with one scan.
"""

from __future__ import annotations

import math
import re
import struct
from typing import NamedTuple

from PIL import Image

from resnet_jax.data.config import MAX_PIXELS

MAX_BYTES = 3 * MAX_PIXELS + 2**20
"""The largest file: as many pixels as are allowed by default, in RGB and not compressed."""

_MAX_SCANS = 500
_SCANS_OF_THE_LARGEST = 12  # encoders write 6 to 10
_FREE_PARTS, _BYTES_PER_PART = 1000, 1024  # segments, chunks, blocks; encoders fill them with more
_MAX_PADDING = 2**16
_MAX_STRIPS = 2**16
_MAX_RUNS = 2**22  # pixels and bytes of a run-length encoded BMP, which Pillow decodes in Python

_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # RST is a part of a scan
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length: TEM, RST, SOI
_END, _SCAN = 0xD9, 0xDA
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_GIF_BLOCK = re.compile(rb"[!,;]")
_TIFF_ORDERS = {b"II": "<", b"MM": ">"}
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_BYTES |= {16: 8, 17: 8, 18: 8}


class _TiffLayout(NamedTuple):
    """How the fields of a TIFF are stored, as formats of `struct`."""

    offset_at: int
    offset: str
    field_count: str
    entry: str
    value_bits: int


_TIFF = _TiffLayout(4, "I", "H", "HHII", 32)
_BIG_TIFF = _TiffLayout(8, "Q", "Q", "HHQQ", 64)
_STRIP_OFFSETS, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS = 273, 322, 323, 324


def find_excess(image: bytes) -> str:
    """Says why a file would take too long, or too much memory, to read.

    Args:
        image: The content of an image file of any format, or of none.

    Returns:
        The reason, without the name of the file; the empty string where there is none.
    """
    if len(image) > MAX_BYTES:
        return f"the file has {len(image)} bytes, the limit is {MAX_BYTES}"
    try:
        if image[:2] == b"\xff\xd8":
            return _read_jpeg(image).excess
        if image[:8] == b"\x89PNG\r\n\x1a\n":
            return _png_excess(image)
        if image[:3] == b"GIF":
            return _gif_excess(image)
        if image[:2] in _TIFF_ORDERS:
            return _tiff_excess(image)
    except (IndexError, struct.error):
        pass  # it ends early, which its decoder finds out as soon
    return ""


def scans_excess(image: bytes, *, pixels: int, max_pixels: int) -> str:
    """Says why reading a JPEG would take too long: each scan may pass over every pixel.

    Args:
        image: The content of a JPEG.
        pixels: What its header says.
        max_pixels: The largest image.

    Returns:
        The reason, or the empty string.
    """
    scans, excess = _read_jpeg(image)
    if excess:
        return excess
    most = min(_MAX_SCANS, _SCANS_OF_THE_LARGEST * max(max_pixels, MAX_PIXELS) // max(pixels, 1))
    if scans <= max(most, 1):
        return ""
    return f"the JPEG has more than {most} scans over {pixels} pixels, the limit; save it again"


def decoding_excess(opened: Image.Image, image: bytes, *, max_pixels: int) -> str:
    """Says why Pillow would take too long to decode an image.

    Args:
        opened: The image, opened and not loaded.
        image: The content of its file.
        max_pixels: The largest image.

    Returns:
        The reason, or the empty string.
    """
    pixels = math.prod(opened.size)
    if opened.format in ("JPEG", "MPO"):
        return scans_excess(image, pixels=pixels, max_pixels=max_pixels)
    in_python = any(tile[0] in Image.DECODERS for tile in getattr(opened, "tile", ()))
    if in_python and max(pixels, len(image)) > _MAX_RUNS:
        return (
            f"the {opened.format} is run-length encoded and has more than {_MAX_RUNS} pixels or "
            "bytes; save it as PNG"
        )
    return ""


class _Jpeg(NamedTuple):
    """What the markers of a JPEG say; `scans` are counted up to one above the limit."""

    scans: int
    excess: str


def _read_jpeg(image: bytes) -> _Jpeg:
    at, scans, parts, padding, components = 2, 0, 0, 0, 0
    most_parts = _most_parts(image)
    while found := (_MARKER_AFTER_SCAN if scans else _MARKER).search(image, at):
        kind, start = image[found.end() - 1], found.end()
        parts += 1
        if not scans:
            padding += found.start() - at
        if parts > most_parts or padding > _MAX_PADDING:
            what = f"{most_parts} segments" if parts > most_parts else f"{_MAX_PADDING} stray bytes"
            return _Jpeg(scans, f"the header of the JPEG has more than {what}; save it again")
        if kind == _END:
            break
        if kind in _ALONE:
            at = start
            continue
        if kind in _SEQUENTIAL and start + 7 < len(image):
            components = image[start + 7]
        at = start + int.from_bytes(image[start : start + 2], "big")
        if kind == _SCAN:
            scans += 1
            whole = scans == 1 and image[start + 2 : start + 3] == bytes([components])
            if whole or scans > _MAX_SCANS:
                break
    else:
        if not scans and len(image) - at > _MAX_PADDING:
            return _Jpeg(0, f"the header of the JPEG has more than {_MAX_PADDING} stray bytes")
    return _Jpeg(scans, "")


def _png_excess(image: bytes) -> str:
    at, chunks, most = 8, 0, _most_parts(image)
    while at < len(image) and image[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(image[at : at + 4], "big")
        chunks += 1
        if chunks > most:
            return f"the PNG has more than {most} chunks, the limit; save it again"
    return ""


def _gif_excess(image: bytes) -> str:
    at, blocks, most = 13, 0, _most_parts(image)
    if image[10] & 0x80:
        at += 3 << ((image[10] & 7) + 1)
    while found := _GIF_BLOCK.search(image, at):
        blocks += 1 + found.start() - at
        at = found.end()
        if blocks > most:
            return f"the GIF has more than {most} blocks before its image, the limit; save it again"
        if found[0] != b"!":
            return ""
        at += 1
        while image[at]:
            at += 1 + image[at]
        at += 1
    if len(image) - at > most:
        return "the GIF has no image in it"
    return ""


def _tiff_excess(image: bytes) -> str:
    order = _TIFF_ORDERS[image[:2]]
    (version,) = struct.unpack_from(f"{order}H", image, 2)
    kind = _BIG_TIFF if version == 43 else _TIFF
    (first,) = struct.unpack_from(order + kind.offset, image, kind.offset_at)
    (count,) = struct.unpack_from(order + kind.field_count, image, first)
    fields = first + struct.calcsize(order + kind.field_count)
    entry = struct.Struct(order + kind.entry)
    if count > _most_parts(image):
        return f"the TIFF has {count} fields, the limit is {_most_parts(image)}"
    total, tile = 0, {_TILE_WIDTH: 1, _TILE_HEIGHT: 1}
    for at in range(fields, fields + count * entry.size, entry.size):
        tag, number, values, value = entry.unpack_from(image, at)
        if tag in (_STRIP_OFFSETS, _TILE_OFFSETS) and values > _MAX_STRIPS:
            return f"the TIFF has {values} strips or tiles, the limit is {_MAX_STRIPS}"
        if tag in tile:
            # A short lies in the first bytes of the field.
            short = number == 3 and order == ">"
            tile[tag] = value >> (kind.value_bits - 16) if short else value
        total += values * _TIFF_BYTES.get(number, 0)
    if total > len(image):
        return "the fields of the TIFF claim more bytes than the file has"
    if math.prod(tile.values()) > MAX_PIXELS:
        return f"the TIFF has tiles of {' x '.join(map(str, tile.values()))} pixels"
    return ""


def _most_parts(image: bytes) -> int:
    return _FREE_PARTS + len(image) // _BYTES_PER_PART

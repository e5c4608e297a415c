"""Reads hostile images and archives, each in a process with little memory and time.

    python -m benchmarks.fuzzing --images 10000 --archives 200 --json FILE

Images are files of every format that is read, with bytes changed, repeated, cut out and exchanged,
or with lengths and sizes set to extremes. Archives are zip files of such images, changed in the
same way, some with members of hundreds of megabytes. Each is read as training reads it, in a
process of its own that may take 4 GB of memory and compute for ten seconds. Whatever is neither
read nor refused with one line counts as a fault, and is written to `--keep`.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pathlib
import resource
import signal
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.sources import open_split
from resnet_jax.errors import ConfigError

MEMORY = 4 * 10**9
SECONDS = 10
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "restart_marker_blocks": 2}),
    ("PNG", {}),
    ("GIF", {"save_all": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate", "big_tiff": True}),
    ("TIFF", {"compression": "jpeg"}),
)
MODES = ("RGB", "L", "P", "CMYK", "RGBA", "1", "I;16")


class Ended(NamedTuple):
    """How reading ended: `read`, `refused` or a fault; what it computed and took at most."""

    how: str
    seconds: float
    mebibytes: float


def seeds(rng: np.random.Generator) -> list[bytes]:
    """Makes a file of each format and mode that can be combined."""
    files = []
    for kind, options in FORMATS:
        for mode in MODES:
            pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            image = Image.fromarray(pixels // 64 * 64 if kind == "BMP" else pixels)
            image = (
                Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if "16" in mode else image
            )
            buffer = io.BytesIO()
            exif = Image.Exif()
            exif[0x0112] = int(rng.integers(1, 9))
            try:
                converted = image if "16" in mode else image.convert(mode)
                extra = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}
                converted.save(buffer, kind, **options, **extra)
            except (OSError, ValueError, KeyError):
                continue  # no such combination
            files.append(buffer.getvalue())
    return files


def changed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Changes, repeats, cuts out and exchanges a few pieces of a file."""
    result = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        # Half of the changes concern the header.
        end = min(len(result), 200) if rng.random() < 0.5 else len(result)
        at, length = int(rng.integers(max(end, 1))), int(rng.integers(1, 60))
        match int(rng.integers(7)):
            case 0:
                result[at : at + 1] = bytes([int(rng.integers(256))])
            case 1:
                del result[at : at + length]
            case 2:
                result[at:at] = result[at : at + length] * int(rng.integers(1, 2000))
            case 3:
                order, size = ("<>"[rng.integers(2)], "BHI"[rng.integers(3)])
                value = EXTREMES[rng.integers(len(EXTREMES))]
                packed = struct.pack(f"{order}I", value)
                width = struct.calcsize(size)
                result[at : at + width] = packed[:width] if order == "<" else packed[-width:]
            case 4:
                start = int(rng.integers(len(other)))
                result[at : at + length] = other[start : start + length]
            case 5:
                result[at:at] = bytes([int(rng.choice([0, 255]))]) * int(rng.integers(1, 10**6))
            case _:
                del result[at + length :]
    return bytes(result)


def archives(rng: np.random.Generator, files: Sequence[bytes]) -> Iterator[bytes]:
    """Makes zip files of two classes without end: damaged, and with members that are too large."""
    while True:
        buffer = io.BytesIO()
        large = int(rng.integers(6)) if rng.random() < 0.3 else -1
        method = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for number in range(6):
                content = files[int(rng.integers(len(files)))]
                if rng.random() < 0.3:
                    content = changed(rng, content, content)
                name, packed = f"train/{'ab'[number % 2]}/{number}.png", method
                if number == large:
                    content += bytes(int(rng.integers(10**6, 2**30)))
                    packed = zipfile.ZIP_DEFLATED
                archive.writestr(name, content, packed, compresslevel=1)
        data = buffer.getvalue()
        yield changed(rng, data, data) if rng.random() < 0.6 else data


def read_archive(data: bytes) -> None:
    """Reads every image of an archive as training does."""
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(data)
        file.flush()
        source = open_split(f"zip:{file.name}", "train")
        refused = None
        for index in range(len(source)):
            try:
                source.decode(source.record(index))
            except ConfigError as error:
                refused = error
        if refused is not None:
            raise refused


def run_alone(read: Callable[[bytes], object], data: bytes) -> Ended:
    """Reads in a process of its own, which is forked: what it does is forgotten."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(10 * SECONDS)  # it may wait for processors, but not for ever
        os.write(sender, _attempt(read, data).encode()[:300])
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        said = stream.read().decode(errors="replace")
    _, status, used = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        said = f"signal {os.WTERMSIG(status)}"
    return Ended(said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _attempt(read: Callable[[bytes], object], data: bytes) -> str:
    try:
        read(data)
    except ConfigError as error:
        return "refused" if "\n" not in str(error) else f"several lines: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "read"


def fuzz(
    read: Callable[[bytes], object], files: Iterator[bytes], count: int, keep: pathlib.Path | None
) -> dict[str, Any]:
    """Reads so many files, and counts how that ends."""
    counts: collections.Counter[str] = collections.Counter()
    longest = largest = 0.0
    for number in range(count):
        data = next(files)
        ended = run_alone(read, data)
        counts[ended.how] += 1
        longest, largest = max(longest, ended.seconds), max(largest, ended.mebibytes)
        if ended.how not in ("read", "refused") and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{read.__name__}_{number}").write_bytes(data)
    return {"ended": dict(counts), "seconds": round(longest, 2), "mebibytes": round(largest)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads, prints the counts and writes them where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--archives", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=pathlib.Path, help="folder for files that make faults")
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args(arguments)
    rng = np.random.default_rng(flags.seed)
    files = seeds(rng)

    def images() -> Iterator[bytes]:
        while True:
            yield changed(rng, files[rng.integers(len(files))], files[rng.integers(len(files))])

    result = {
        "images": fuzz(decode_image, images(), flags.images, flags.keep),
        "archives": fuzz(read_archive, archives(rng, files), flags.archives, flags.keep),
    }
    print(json.dumps(result, indent=2))
    if flags.json:
        flags.json.write_text(json.dumps(result, indent=2) + "\n")
    ends = {how for part in result.values() for how in part["ended"]}
    return 0 if ends <= {"read", "refused"} else 1


if __name__ == "__main__":
    sys.exit(main())

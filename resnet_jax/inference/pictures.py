"""Finds picture files and decodes them ahead of their use, in order."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import pathlib
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_jax.data.images.decode import BadImageError, decode_image
from resnet_jax.data.images.record import Record
from resnet_jax.data.sources.folders import EXTENSIONS
from resnet_jax.inference.inputs import inputs_transform
from resnet_jax.zoo.preprocessing import NetworkInputs

_THREADS = 8


class Picture(NamedTuple):
    """A file and what became of it.

    Attributes:
        path: The file, as it was named.
        pixels: uint8 [height, width, channels]; None where it could not be used.
        problem: Why it could not, or the empty string.
    """

    path: str
    pixels: NDArray[np.uint8] | None
    problem: str = ""


def find_files(names: Iterable[str]) -> Iterator[str]:
    """Replaces folders by the picture files in them and below, sorted by name, one at a time.

    Hidden files and those that are no pictures by their extension are passed over; a file that is
    named itself is given whatever it is called. A folder that cannot be read is given as it is.

    Args:
        names: Files and folders; they are asked for as the results are.
    """
    for name in names:
        if not _is_folder(name):
            yield name
            continue
        found = False
        for file in _below(pathlib.Path(name)):
            found = True
            yield str(file)
        if not found:
            yield name  # it fails as a picture, which tells the user about it


def _below(folder: pathlib.Path, above: frozenset[str] = frozenset()) -> Iterator[pathlib.Path]:
    place = os.path.realpath(folder)
    if place in above:
        return  # a link leads back
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError:
        yield folder  # it fails as a picture, which tells the user why
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry, above | {place})
        elif entry.suffix.lower() in EXTENSIONS:
            yield entry


def _is_folder(name: str) -> bool:
    try:
        return pathlib.Path(name).is_dir()
    except (OSError, ValueError):
        return False


def read_picture(path: str, inputs: NetworkInputs) -> Picture:
    """Reads a file and brings it to what a network expects.

    Args:
        path: The file.
        inputs: What the network expects.
    """
    try:
        if _is_folder(path):
            any(pathlib.Path(path).iterdir())  # raises where the folder may not be read
            return Picture(path, None, "the folder holds no pictures")
        file = pathlib.Path(path)
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe or a device might never end
            return Picture(path, None, "it is no regular file")
        return Picture(path, prepare_image(file.read_bytes(), inputs))
    except BadImageError as error:
        return Picture(path, None, " ".join(str(error).split()))
    except OSError as error:
        return Picture(path, None, (error.strerror or str(error)).lower())
    except ValueError as error:  # a name that no file can have
        return Picture(path, None, str(error))


def prepare_image(data: bytes, inputs: NetworkInputs) -> NDArray[np.uint8]:
    """Decodes the content of a picture file and brings it to what a network expects.

    Args:
        data: The content.
        inputs: What the network expects.

    Returns:
        uint8 [height, width, channels], of `inputs.size` where that is set.

    Raises:
        BadImageError: The content is no picture, damaged or too large.
    """
    transform = inputs_transform(inputs)
    if transform is None:
        return decode_image(data, channels=inputs.channels)
    # The crop is at the centre: no number is drawn.
    return transform(Record(data, 0), np.random.default_rng(0))


def read_ahead(paths: Iterable[str], inputs: NetworkInputs, *, ahead: int) -> Iterator[Picture]:
    """Reads files in threads and gives them in their order.

    Args:
        paths: The files; no more than `ahead` beyond the one that is given are asked for.
        inputs: What the network expects.
        ahead: Pictures that are held in memory.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        waiting: collections.deque[concurrent.futures.Future[Picture]] = collections.deque()
        try:
            for path in paths:
                waiting.append(pool.submit(read_picture, path, inputs))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

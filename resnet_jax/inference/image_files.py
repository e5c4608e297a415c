"""Finds image files and decodes them ahead of use, in order."""

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

from resnet_jax.data.image_names import is_image, unread_format
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.bounds import MAX_BYTES
from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.transforms import eval_transform
from resnet_jax.local_paths import local_path
from resnet_jax.network_inputs import NetworkInputs

_THREADS = 8


class ImageFile(NamedTuple):
    """A file and its image, or the reason why it has none.

    Attributes:
        path: The file, as the user named it.
        image: uint8 [height, width, channels]; None if the file cannot be used.
        problem: Why it cannot be used, or the empty string.
    """

    path: str
    image: NDArray[np.uint8] | None
    problem: str = ""


def find_files(names: Iterable[str], *, skipped: list[str] | None = None) -> Iterator[str]:
    """Yields files, and the image files in folders, searched recursively in name order.

    In folders, hidden files and files without an image extension are skipped. Images of formats
    that are not read are yielded: reading them says what to do. Files that are named directly are
    yielded regardless of their extension, and so is a folder that cannot be read.

    Args:
        names: Files and folders, consumed lazily.
        skipped: Takes the files without an image extension.
    """
    skipped = [] if skipped is None else skipped
    for name in names:
        if not _is_folder(name):
            yield name
            continue
        found = False
        for file in _below(pathlib.Path(name), skipped):
            found = True
            yield str(file)
        if not found:
            yield name  # reading it fails, which tells the user about it


def _below(
    folder: pathlib.Path, skipped: list[str], above: frozenset[str] = frozenset()
) -> Iterator[pathlib.Path]:
    place = os.path.realpath(folder)
    if place in above:
        return  # a link to a folder above
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError:
        yield folder  # reading it fails, which tells the user why
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _below(entry, skipped, above | {place})
        elif is_image(entry.name) or unread_format(entry.name):
            yield entry
        else:
            skipped.append(str(entry))


def _is_folder(name: str) -> bool:
    try:
        return pathlib.Path(name).is_dir()
    except (OSError, ValueError):
        return False


def read_image_file(path: str, inputs: NetworkInputs) -> ImageFile:
    """Reads a file and prepares its image for a network.

    Args:
        path: The file.
        inputs: What the network expects.
    """
    try:
        if _is_folder(path):
            any(pathlib.Path(path).iterdir())  # raises if the folder may not be read
            return ImageFile(path, None, "the folder contains no images")
        file = local_path(path)
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            return ImageFile(path, None, "it is not a regular file")
        if status.st_size > MAX_BYTES:
            problem = f"the file has {status.st_size} bytes, the limit is {MAX_BYTES}"
            return ImageFile(path, None, problem)
        return ImageFile(path, prepare_image(file.read_bytes(), inputs))
    except BadImageError as error:
        return ImageFile(path, None, " ".join(str(error).split()))
    except OSError as error:
        return ImageFile(path, None, (error.strerror or str(error)).lower())
    except ValueError as error:  # an address, or a name that no file can have
        return ImageFile(path, None, str(error))


def prepare_image(data: bytes, inputs: NetworkInputs) -> NDArray[np.uint8]:
    """Decodes the content of an image file and prepares the image for a network.

    Args:
        data: The content.
        inputs: What the network expects.

    Returns:
        uint8 [height, width, channels]; both are `inputs.size` if that is set.

    Raises:
        BadImageError: The content is not an image, damaged or too large.
    """
    transform = eval_transform(inputs)
    if transform is None:
        return decode_image(data, channels=inputs.channels)
    # The crop is central, so the generator is not used.
    return transform(Record(data, 0), np.random.default_rng(0))


def read_ahead(paths: Iterable[str], inputs: NetworkInputs, *, ahead: int) -> Iterator[ImageFile]:
    """Reads files in threads and yields them in order.

    Args:
        paths: The files, consumed at most `ahead` files before they are yielded.
        inputs: What the network expects.
        ahead: The most images held in memory.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        waiting: collections.deque[concurrent.futures.Future[ImageFile]] = collections.deque()
        try:
            for path in paths:
                waiting.append(pool.submit(read_image_file, path, inputs))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

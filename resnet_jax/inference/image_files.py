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

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.data.image_names import is_image, unread_format
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.bounds import MAX_BYTES
from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.transforms import eval_transform
from resnet_jax.local_paths import user_path
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
        folder = _folder(name)
        if folder is None:
            yield name
            continue
        found = False
        listed = (
            _below(folder, skipped) if isinstance(folder, pathlib.Path) else _in(folder, skipped)
        )
        for file in listed:
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


def _in(folder: BucketPath, skipped: list[str]) -> Iterator[BucketPath]:
    """Lists the images below a path in a bucket, as `_below` does."""
    for file in folder.files():
        if any(part.startswith(".") for part in file.path.relative_to(folder).parts):
            continue
        if is_image(file.path.name) or unread_format(file.path.name):
            yield file.path
        else:
            skipped.append(str(file.path))


def _folder(name: str) -> AnyPath | None:
    """Returns the path of a folder; None if it is none, or cannot be reached."""
    try:
        path = user_path(name)
        return path if path.is_dir() else None
    except (OSError, ValueError):
        return None


def _read(path: str) -> bytes:
    """Reads a file of at most `MAX_BYTES`.

    Raises:
        BadImageError: It is larger, or not a regular file.
    """
    given = user_path(path)
    if isinstance(given, pathlib.Path):
        status = given.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device might never end
            raise BadImageError("it is not a regular file")
        size = status.st_size
    else:
        size = given.file().size
    if size > MAX_BYTES:
        raise BadImageError(f"the file has {size} bytes, the limit is {MAX_BYTES}")
    return given.read_bytes()


def read_image_file(path: str, inputs: NetworkInputs) -> ImageFile:
    """Reads a file and prepares its image for a network.

    Args:
        path: The file.
        inputs: What the network expects.
    """
    try:
        folder = _folder(path)
        if folder is not None:
            any(folder.iterdir())  # raises if the folder may not be read
            return ImageFile(path, None, "the folder contains no images")
        return ImageFile(path, prepare_image(_read(path), inputs))
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

"""Digests of checkpoints, which show whether a file changed after it was written.

The arrays of a checkpoint have no checksum of their own. Without digests, a flipped bit on the disk
could change the weights unnoticed.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import pathlib
import re
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from resnet_jax.whole_files import write_text

CHECKPOINTS = "checkpoints"
FOLDER = "digests"
_OF_STEP = re.compile(rf"{CHECKPOINTS}/(?:(?P<step>\d+)/|{FOLDER}/(?P<digest>\d+)\.json$)")
_POLL_SECONDS = 0.05


class Digests:
    """The digests of the checkpoints in a folder, computed in the background.

    Args:
        directory: The folder of the checkpoints; its folder `digests` holds the digests.
        written: Called after each digest.
    """

    def __init__(
        self, directory: pathlib.Path, *, written: Callable[[], None] = lambda: None
    ) -> None:
        self._directory = directory
        self._written = written
        self._closing = threading.Event()
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "digests")
        self._pending: list[concurrent.futures.Future[None]] = []

    def expect(self, step: int) -> None:
        """Writes the digest of a checkpoint as soon as it is complete."""
        self._pending = [future for future in self._pending if not future.done()]
        self._pending.append(self._worker.submit(self._write_when_complete, step))

    def after(self, action: Callable[[], None]) -> None:
        """Carries out an action that brings a digest about, after the digests expected so far."""
        self._pending = [future for future in self._pending if not future.done()]
        self._pending.append(self._worker.submit(self._carry_out, action))

    def _carry_out(self, action: Callable[[], None]) -> None:
        action()
        self._written()

    def forget(self, step: int) -> None:
        """Removes the digest of an earlier checkpoint of this number, before a new one is saved."""
        self._file(step).unlink(missing_ok=True)

    def close(self) -> None:
        """Writes the remaining digests; call it after all saves have ended."""
        self._closing.set()
        self._worker.shutdown(wait=True)
        for future in self._pending:
            future.result()

    def _file(self, step: int) -> pathlib.Path:
        return digest_file(self._directory, step)

    def _write_when_complete(self, step: int) -> None:
        folder = self._directory / str(step)
        # Orbax gives a checkpoint its name when it is complete.
        while not folder.is_dir():
            if self._closing.wait(_POLL_SECONDS) and not folder.is_dir():
                return
        try:
            text = json.dumps(digest(folder), indent=0)
            self._file(step).parent.mkdir(exist_ok=True)
            write_text(self._file(step), text)
            self._drop_strays()
        except OSError:
            return  # it was removed, or the disk is full: a checkpoint may lack its digest
        self._written()

    def _drop_strays(self) -> None:
        for file in self._file(0).parent.glob("*.json"):
            if not (self._directory / file.stem).is_dir():
                file.unlink(missing_ok=True)


class DigestFault(NamedTuple):
    """What is wrong with a checkpoint or with its digest.

    Attributes:
        reason: In words.
        spoils: Whether the checkpoint cannot be trusted; otherwise only its digest is damaged.
    """

    reason: str
    spoils: bool


def digest_fault(directory: pathlib.Path, step: int) -> DigestFault | None:
    """Compares a checkpoint with its digest.

    Args:
        directory: The folder of the checkpoints.
        step: The number of the checkpoint.

    Returns:
        The first difference. None if there is none, or if there is no digest because the process
        was killed before it could write one.
    """
    file = digest_file(directory, step)
    try:
        expected = json.loads(file.read_bytes())
    except OSError:
        return None
    except ValueError:
        expected = None
    if not isinstance(expected, dict):
        return DigestFault(f"{file} is damaged: checkpoint {step} was read unchecked", spoils=False)
    found = digest(directory / str(step))
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            return DigestFault(f"{name} is missing", spoils=True)
        if expected.get(name) != found[name]:
            return DigestFault(f"{name} changed after it was written", spoils=True)
    return None


def marker_name(step: int | None) -> str:
    """Names the digest of a checkpoint within the folder of a run; None gives no name."""
    return "" if step is None else f"{CHECKPOINTS}/{FOLDER}/{step}.json"


def step_of(name: str) -> int | None:
    """Finds the number of the checkpoint that a file belongs to, or that it is the digest of.

    Args:
        name: The name of a file within the folder of a run.
    """
    match = _OF_STEP.match(name)
    return None if match is None else int(match["step"] or match["digest"])


def complete_steps(names: Iterable[str]) -> set[int]:
    """Finds the checkpoints that have both files and a digest.

    Args:
        names: The names of files within the folder of a run.
    """
    files: set[int] = set()
    markers: set[int] = set()
    for name in names:
        step = step_of(name)
        if step is not None:
            (markers if name == marker_name(step) else files).add(step)
    return files & markers


def digest_file(directory: pathlib.Path, step: int) -> pathlib.Path:
    """Names the file of the digest of a checkpoint."""
    return directory / FOLDER / f"{step}.json"


def digest(folder: pathlib.Path) -> dict[str, str]:
    """Hashes every file in a folder, recursively: relative path to SHA-256."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                name = path.relative_to(folder).as_posix()
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes

"""Digests of checkpoints, which show whether a file changed after it was written.

The arrays of a checkpoint have no checksum of their own. Without digests, a flipped bit on the disk
could change the weights unnoticed.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import pathlib
import threading

from resnet_jax.whole_files import write_text

FOLDER = "digests"
_POLL_SECONDS = 0.05


class Digests:
    """The digests of the checkpoints in a folder, computed in the background.

    Args:
        directory: The folder of the checkpoints; its folder `digests` holds the digests.
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._closing = threading.Event()
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "digests")
        self._pending: list[concurrent.futures.Future[None]] = []

    def expect(self, step: int) -> None:
        """Writes the digest of a checkpoint as soon as it is complete."""
        self._pending = [future for future in self._pending if not future.done()]
        self._pending.append(self._worker.submit(self._write_when_complete, step))

    def fault(self, step: int) -> str | None:
        """Compares a checkpoint with its digest.

        Returns:
            The first difference in words. None if there is none, or if there is no digest because
            the process was killed before it could write one.
        """
        file = self._file(step)
        try:
            expected = json.loads(file.read_text())
        except (OSError, ValueError):
            return None
        found = digest(self._directory / str(step))
        for name in sorted(expected.keys() | found.keys()):
            if name not in found:
                return f"{name} is missing"
            if expected.get(name) != found[name]:
                return f"{name} changed after it was written"
        return None

    def close(self) -> None:
        """Writes the remaining digests; call it after all saves have ended."""
        self._closing.set()
        self._worker.shutdown(wait=True)
        for future in self._pending:
            future.result()

    def _file(self, step: int) -> pathlib.Path:
        return self._directory / FOLDER / f"{step}.json"

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

    def _drop_strays(self) -> None:
        for file in self._file(0).parent.glob("*.json"):
            if not (self._directory / file.stem).is_dir():
                file.unlink(missing_ok=True)


def digest(folder: pathlib.Path) -> dict[str, str]:
    """Hashes every file in a folder, recursively: relative path to SHA-256."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                name = path.relative_to(folder).as_posix()
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes

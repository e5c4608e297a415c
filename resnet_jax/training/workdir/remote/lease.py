"""Which process owns the folder of a run in a bucket.

Each claim is an object with a number, created only if it does not exist yet; the highest number
owns the folder. Its owner writes it again now and then. Another process takes the next number when
the owner is known to have ended, or has not written for `EXPIRES` seconds.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import time
import uuid
from collections.abc import Callable

import filelock

from resnet_jax.buckets import BucketFile, BucketPath
from resnet_jax.errors import ConfigError
from resnet_jax.training.workdir.stored import CheckpointError

FOLDER = "claims"
RENEW = 30.0
"""Seconds between two writes of a claim."""
EXPIRES = 100.0
"""Seconds without a write after which a claim counts for nothing."""
_LOOK = 5.0


class Lease:
    """The claim of this process on a folder.

    Args:
        root: The folder in the bucket.
        lock: A local file that this process holds a lock on for as long as it lives, by which other
            processes on this machine see that it ended.
    """

    def __init__(self, root: BucketPath, lock: pathlib.Path) -> None:
        self._root = root
        status = lock.stat()
        self._holder = {
            "host": platform.node(),
            "process": os.getpid(),
            "boot": _boot(),
            "lock": str(lock),
            "inode": f"{status.st_dev}:{status.st_ino}",
            "token": uuid.uuid4().hex,
        }
        self._number = 0
        self._writes = 0

    def acquire(self, say: Callable[[str], None]) -> None:
        """Takes the folder; waits if it may belong to a process that is gone.

        Args:
            say: Is told why it takes long.

        Raises:
            ConfigError: A process that is still running owns the folder; the message names it.
        """
        seen: BucketFile | None = None
        until = 0.0
        while not self._take(seen, until):
            newest = self._claims()[-1:]
            if not newest:
                seen = None
                continue
            if seen is not None and newest[0] != seen:
                raise ConfigError(
                    f"workdir {self._root} is in use by {_described(newest[0].path)}; wait for it, "
                    "stop it, or choose another --workdir"
                )
            if seen is None:
                seen, until = newest[0], time.monotonic() + EXPIRES
                if _has_ended(seen.path):
                    until = 0.0
                    continue
                say(
                    f"workdir {self._root} was claimed by {_described(seen.path)}: waiting for up "
                    f"to {EXPIRES:.0f} s to see whether it is still running"
                )
            time.sleep(_LOOK)

    def _take(self, seen: BucketFile | None, until: float) -> bool:
        """Creates the next claim, if the one that was seen counts for nothing or there is none."""
        if seen is not None and time.monotonic() < until:
            return False
        newest = self._claims()[-1:]
        if newest != ([] if seen is None else [seen]):
            return False
        self._number = _number(newest[0].path) + 1 if newest else 1
        try:
            self._path.create(self._text())
        except FileExistsError:
            return False
        for claim in newest:
            claim.path.unlink(missing_ok=True)
        return True

    def renew(self) -> None:
        """Writes the claim again, so that it does not expire."""
        self._writes += 1
        self._path.write_bytes(self._text())

    def check(self) -> None:
        """Makes sure that no other process has taken the folder, in one request.

        Raises:
            CheckpointError: One has.
        """
        newest = self._claims()[-1:]
        if newest and _number(newest[0].path) > self._number:
            raise CheckpointError(
                f"workdir {self._root} was taken by {_described(newest[0].path)}, since this run "
                f"could not write to it for more than {EXPIRES:.0f} s; let one of them go on"
            )

    def release(self) -> None:
        """Gives the folder up."""
        self._path.unlink(missing_ok=True)

    @property
    def _path(self) -> BucketPath:
        return self._root / FOLDER / f"{self._number:08}.json"

    def _text(self) -> bytes:
        return json.dumps({**self._holder, "writes": self._writes}).encode()

    def _claims(self) -> list[BucketFile]:
        return (self._root / FOLDER).files()


def _number(claim: BucketPath) -> int:
    return int(claim.stem) if claim.stem.isdecimal() else 0


def _boot() -> str:
    """Identifies the machine since it was started."""
    file = pathlib.Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.is_file() else platform.node()


def _read(claim: BucketPath) -> dict[str, object]:
    try:
        values = json.loads(claim.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _described(claim: BucketPath) -> str:
    values = _read(claim)
    if "process" not in values:
        return "another process"
    return f"process {values['process']} on {values.get('host')}"


def _has_ended(claim: BucketPath) -> bool:
    """Whether the holder of a claim ran on this machine, and its lock is free."""
    values = _read(claim)
    if values.get("boot") != _boot():
        return False
    lock = pathlib.Path(str(values.get("lock")))
    try:
        status = lock.stat()
        if f"{status.st_dev}:{status.st_ino}" != values.get("inode"):
            return False
        filelock.FileLock(lock).acquire(timeout=0).lock.release()
    except (OSError, filelock.Timeout):
        return False
    return True

"""The copy of a run on this machine."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import tempfile
import uuid
from typing import Self

import filelock
import jax

from resnet_jax.buckets import BucketPath, download_files
from resnet_jax.training.workdir.digests import complete_steps
from resnet_jax.training.workdir.remote import lease, parts

# These are written, and never read by a run that resumes.
_NOT_READ = (lease.FOLDER, parts.FOLDER, "tensorboard", "profile")


class LocalCopy:
    """A folder for the copy of a run, in the folder for temporary files; a context manager.

    Each process has its own.

    Args:
        address: The folder of the run in the bucket.

    Attributes:
        root: The folder; its files are named as those of the run.
        lock: A file that this process holds a lock on.
    """

    def __init__(self, address: BucketPath) -> None:
        base = pathlib.Path(tempfile.gettempdir(), f"resnet_jax-{os.getuid()}")
        base.mkdir(mode=0o700, exist_ok=True)
        run = hashlib.sha256(str(address).encode()).hexdigest()[:12]
        self._name = f"{run}-{jax.process_index()}"
        self.root = base / f"{self._name}-{uuid.uuid4().hex[:8]}"
        self.lock = self.root.with_suffix(".lock")
        self._lock = filelock.FileLock(self.lock)

    def __enter__(self) -> Self:
        self._lock.acquire()
        self.root.mkdir()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        self.lock.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def remove_remains(self) -> None:
        """Removes the copies of processes that were killed.

        Call it with the claim on the run: the lock of such a copy shows that its process ended.
        """
        for lock in self.root.parent.glob(f"{self._name}-*.lock"):
            if lock == self.lock:
                continue
            try:
                with filelock.FileLock(lock, timeout=0):
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink(missing_ok=True)
            except filelock.Timeout:
                continue  # its process is running

    def keep(self) -> pathlib.Path:
        """Keeps the folder after the end of the process, and returns where."""
        kept = self.root.with_name(f"unsaved-{self.root.name}")
        shutil.copytree(self.root, kept)
        return kept


def download_run(address: BucketPath, root: pathlib.Path) -> set[str]:
    """Downloads everything that a run reads when it resumes.

    Args:
        address: The folder of the run in the bucket.
        root: The folder of the copy, which is empty.

    Returns:
        The names of all objects of the run.
    """
    known = {file.path.relative_to(address).as_posix(): file.path for file in address.files()}
    steps = complete_steps(known)
    wanted = {}
    for name, path in known.items():
        first, *rest = name.split("/")
        if first == "checkpoints" and rest[0].startswith("broken-"):
            (root / first / rest[0]).mkdir(parents=True, exist_ok=True)  # its name is taken
        elif first == "checkpoints" and rest[0].isdecimal() and int(rest[0]) not in steps:
            continue
        elif first not in _NOT_READ:
            wanted[name] = path
    download_files(wanted, root)
    return set(known)

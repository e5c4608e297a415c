"""Keeps the folder of a run in a bucket equal to its copy on this machine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import jax

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.machine.processes import decided_by_first, wait_for_all
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.remote.changes import PartChanges, RunChanges
from resnet_jax.training.workdir.remote.copies import LocalCopy, download_run
from resnet_jax.training.workdir.remote.lease import RENEW, Lease
from resnet_jax.training.workdir.stored import CheckpointError

_AGAIN = 10.0
_FOR_PARTS = 0.5
_LAST_WAIT = 900.0

Say = Callable[[str], None]


class Mirror:
    """Uploads what a run writes, from a thread of its own: at each checkpoint, and at the end.

    While the bucket cannot be written, the run goes on; everything is uploaded when it can.

    Args:
        address: The folder of the run in the bucket.
        copy: The local copy.
        say: Is told what the user should know.
    """

    def __init__(self, address: BucketPath, copy: LocalCopy, *, say: Say) -> None:
        self._address = address
        self._copy = copy
        self._say = say
        self._is_first = jax.process_index() == 0
        self._lease = Lease(address, copy.lock) if self._is_first else None
        self._changes: RunChanges | PartChanges | None = None
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._requested = False
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._over = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._error: CheckpointError | None = None
        self._fault: str | None = None

    def begin(self) -> None:
        """Claims the folder and downloads the run; every process of a run calls it.

        Raises:
            ConfigError: Another process owns the folder.
            BucketError: The bucket cannot be read or written.
        """
        decided_by_first(lambda: self._lease.acquire(self._say) if self._lease else None)
        self._copy.remove_remains()
        known = download_run(self._address, self._copy.root)
        wait_for_all("downloaded")  # before anything is written
        if self._lease is not None:
            self._changes = RunChanges(
                self._address, self._copy.root, known=known, check=self._lease.check
            )
            self._changes.remove_remains()
            self._renewing.start()
        else:
            self._changes = PartChanges(self._address, self._copy.root)
        self._thread.start()

    def request(self) -> None:
        """Asks for an upload; returns at once."""
        self._requested = True
        self._wake.set()

    def raise_error(self) -> None:
        """Raises what went wrong for good.

        Raises:
            CheckpointError: Another process took the folder.
        """
        if self._error is not None:
            raise self._error

    def settle(self) -> None:
        """Uploads everything so far; waits for a bucket that cannot be written now.

        Raises:
            CheckpointError: The bucket could not be written; the message says where the copy is.
        """
        until = time.monotonic() + _LAST_WAIT
        while not self._upload(asked=True):
            if time.monotonic() >= until:
                kept = self._copy.keep()
                raise CheckpointError(
                    f"workdir {self._address} could not be written to the end: "
                    f"{self._fault or 'a part of a checkpoint is missing'}; the whole run is kept "
                    f"in {kept}: copy it to the bucket"
                )
            time.sleep(_AGAIN if self._fault else _FOR_PARTS)

    def end(self, *, patient: bool) -> None:
        """Uploads the rest and gives the folder up.

        Args:
            patient: Whether to wait as `settle` does; otherwise one attempt is made.

        Raises:
            CheckpointError: As for `settle`, or another process took the folder.
        """
        self._closing.set()
        self._wake.set()
        self._thread.join()
        try:
            self.raise_error()
            if patient:
                self.settle()
            else:
                self._upload(asked=True)
        finally:
            self._over.set()
            if self._lease is not None:
                self._renewing.join()
                with contextlib.suppress(OSError):  # then it expires
                    self._lease.release()

    def _renew(self) -> None:
        """Renews the claim, also while an upload takes long."""
        while self._lease is not None and not self._over.wait(RENEW):
            with contextlib.suppress(OSError):
                self._lease.renew()

    def _work(self) -> None:
        wait: float | None = None
        while not self._closing.is_set():
            self._wake.wait(wait)
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                done = self._upload(asked=False)
            except CheckpointError as error:
                self._error = error
                return
            wait = None if done else (_AGAIN if self._fault else _FOR_PARTS)

    def _upload(self, *, asked: bool) -> bool:
        """Uploads what is new, if that was asked for; False if some is left."""
        assert self._changes is not None
        with self._one_at_a_time:
            asked = asked or self._requested
            self._requested = False
            try:
                done = self._changes.upload() if asked else True
            except OSError as error:
                self._requested = asked
                if self._fault is None:
                    self._say(f"{error}; the run goes on, and saves there as soon as it can")
                self._fault = str(error)
                return False
            self._requested = self._requested or not done
            if done and self._fault is not None:
                self._fault = None
                self._say(f"workdir {self._address} can be written again: all is saved there")
            return done


@contextlib.contextmanager
def opened(path: AnyPath, *, say: Say) -> Iterator[tuple[Workdir, Mirror | None]]:
    """Opens the folder of a run; one in a bucket is a copy on this machine, with its mirror.

    Args:
        path: The folder.
        say: Is told what the user should know.

    Raises:
        ConfigError: Another process owns the folder.
        BucketError: The bucket cannot be read or written.
        CheckpointError: As for `Mirror.end`.
    """
    if not isinstance(path, BucketPath):
        yield Workdir(path), None
        return
    with LocalCopy(path) as copy:
        mirror = Mirror(path, copy, say=say)
        mirror.begin()
        try:
            yield Workdir(copy.root, address=path), mirror
        except BaseException:
            with contextlib.suppress(OSError, CheckpointError):
                mirror.end(patient=False)
            raise
        mirror.end(patient=True)

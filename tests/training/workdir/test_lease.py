"""Who owns the folder of a run in a bucket."""

import subprocess
import sys
import tempfile
import threading

import filelock
import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.workdir.remote import lease, opened
from resnet_jax.training.workdir.remote.lease import Lease
from resnet_jax.training.workdir.stored import CheckpointError

# Opens the folder of its argument, and is killed.
KILLED = """
import os, signal, sys
from resnet_jax.local_paths import user_path
from resnet_jax.training.workdir.remote import opened
with opened(user_path(sys.argv[1]), say=print):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def candidate(bucket, tmp_path):
    """Makes leases on one folder, each as a process of its own machine would."""
    held = []

    def candidate(name, boot=None):
        lock = filelock.FileLock(tmp_path / f"{name}.lock")
        lock.acquire()
        held.append(lock)
        made = Lease(bucket / "run", tmp_path / f"{name}.lock")
        made._holder |= {"host": name, "boot": boot or name}
        return made

    yield candidate
    for lock in held:
        lock.release()


@pytest.fixture(autouse=True)
def _times(monkeypatch):
    """A claim that a busy machine does not let expire, and short looks at it."""
    monkeypatch.setattr(lease, "EXPIRES", 1e6)
    monkeypatch.setattr(lease, "_LOOK", 0.2)


def test_a_folder_that_was_given_up_is_free(candidate):
    first, second = candidate("first"), candidate("second")
    first.acquire(pytest.fail)
    first.check()
    first.release()
    second.acquire(pytest.fail)
    second.check()


def test_a_process_that_still_writes_keeps_its_folder(candidate):
    first, second = candidate("first"), candidate("second")
    first.acquire(pytest.fail)
    stop, said = threading.Event(), []

    def renew():
        while not stop.wait(0.05):
            first.renew()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(ConfigError, match=r"is in use by process \d+ on first; wait for it"):
            second.acquire(said.append)
    finally:
        stop.set()
        thread.join()
    assert len(said) == 1
    first.check()


def test_a_process_that_was_gone_for_long_loses_its_folder_and_notices(candidate, monkeypatch):
    monkeypatch.setattr(lease, "EXPIRES", 0.6)
    first, second = candidate("first"), candidate("second")
    first.acquire(pytest.fail)
    said = []
    second.acquire(said.append)
    assert "was claimed by process" in said[0]
    second.check()
    with pytest.raises(CheckpointError, match=r"was taken by process \d+ on second"):
        first.check()
    first.renew()
    first.release()
    second.check()


@pytest.mark.slow
def test_a_killed_process_of_this_machine_is_replaced_at_once(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    subprocess.run([sys.executable, "-c", KILLED, str(bucket / "run")], check=False)
    (left,) = tmp_path.glob("*/*.lock")
    with opened(bucket / "run", say=pytest.fail) as (files, _):
        assert not left.exists()
        assert files.root.is_dir()
    assert not files.root.exists()


def test_of_two_that_come_at_once_one_gets_the_folder(candidate):
    owners, refused = [], []

    def acquire(one):
        try:
            one.acquire(lambda line: None)
        except ConfigError:
            refused.append(one)
        else:
            owners.append(one)

    threads = [threading.Thread(target=acquire, args=(candidate(name),)) for name in "ab"]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for owner in owners:
            owner.renew()
        threading.Event().wait(0.05)
    assert (len(owners), len(refused)) == (1, 1)

import signal
import subprocess
import sys

import pytest

from resnet_jax.machine.signals import Interruption

TWICE = """
import signal, time
from resnet_jax.machine.signals import Interruption
with Interruption() as interruption:
    signal.raise_signal(signal.{first})
    assert interruption.requested
    print("noted", flush=True)
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
    print("still here", flush=True)
"""


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_a_second_interrupt_leaves_at_once(first):
    done = subprocess.run(
        [sys.executable, "-c", TWICE.format(first=first)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, "noted\n")
    key = {"SIGINT": "press again", "SIGTERM": "press Ctrl-C"}[first]
    assert done.stderr == f"\nfinishing this step; {key} to leave now\n"


BUSY = """
import hashlib
from resnet_jax.machine.signals import Interruption
with Interruption():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, and Python hands no signal over
"""


def test_a_second_interrupt_leaves_at_once_while_compiled_code_runs():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", BUSY], **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # The answer comes while Python itself cannot act.
        assert process.stderr.readline() == b"\n"
        assert process.stderr.readline() == b"finishing this step; press again to leave now\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 128 + signal.SIGINT


def test_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal is signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)) == before

import signal
import subprocess
import sys
import time

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


BUSY = """
import hashlib
from resnet_jax.machine.signals import Interruption
with Interruption():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, and Python hands no signal over
"""


def test_a_second_interrupt_leaves_at_once_while_compiled_code_runs():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # else the two are one
        assert process.wait(timeout=30) == 128 + signal.SIGINT


def test_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal is signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.set_wakeup_fd(-1)) == before

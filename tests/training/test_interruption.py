import signal
import subprocess
import sys

import pytest

from resnet_jax.training.interruption import Interruption

TWICE = """
import signal
from resnet_jax.training.interruption import Interruption
with Interruption() as interruption:
    signal.raise_signal(signal.{first})
    assert interruption.requested
    print("noted", flush=True)
    signal.raise_signal(signal.SIGINT)
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


def test_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal is signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before

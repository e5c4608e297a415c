import socket
import subprocess
import sys

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.processes import Processes, join


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        (Processes(count=2, number=0), "give all three, or none"),
        (Processes("localhost:1234", 2, 2), "process=2 is not one of processes=2"),
        (Processes("localhost", 2, 0), "coordinator='localhost' is no address; write HOST:PORT"),
    ],
)
def test_what_is_missing_or_wrong_is_said(processes, message):
    with pytest.raises(ConfigError, match=message):
        join(processes)


def test_a_process_outside_of_a_cluster_stays_alone():
    join(Processes())


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


ALONE = """
from resnet_jax.errors import ConfigError
from resnet_jax.training.processes import Processes, join
try:
    join(Processes("localhost:{port}", 2, {number}, timeout=3))
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_others_that_do_not_come_are_a_message_and_no_hang(number):
    code = ALONE.format(port=free_port(), number=number)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    text = done.stdout + done.stderr
    assert "within 3 s" in text or "DEADLINE_EXCEEDED" in text, text

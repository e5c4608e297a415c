import os
import socket
import subprocess
import sys

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.machine.processes import Processes, join


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        (Processes(count=2, number=0), "give all three, or none"),
        (Processes("localhost:1234", 2, 2), "process=2 is not below processes=2"),
        (
            Processes("localhost", 2, 0),
            "coordinator='localhost' is not an address; write HOST:PORT",
        ),
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
from resnet_jax.machine.processes import Processes, join
try:
    join(Processes("localhost:{port}", 2, {number}, timeout=3))
except ConfigError as error:
    print(error)
"""


JOIN = """
from resnet_jax.machine.processes import Processes, join
join(Processes("localhost:{port}", 2, {number}, timeout=60))
print("joined", flush=True)
"""


@pytest.mark.slow
def test_the_devices_of_processes_that_meet_are_connected():
    # Connections that are first made where one process still compiles fail after 30 s.
    port = free_port()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN.format(port=port, number=number)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        )
        for number in range(2)
    ]
    for out in [process.communicate(timeout=120)[0] for process in both]:
        before, joined, _ = out.partition("joined")
        assert joined
        # Of its two devices each reports a connection to its like and one to all others.
        assert before.count("[Gloo]") == 4


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_others_that_do_not_come_are_a_message_and_no_hang(number):
    code = ALONE.format(port=free_port(), number=number)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    text = done.stdout + done.stderr
    assert "within 3 s" in text or "DEADLINE_EXCEEDED" in text, text

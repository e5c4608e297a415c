"""Compilers in processes of their own."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest

from resnet_jax.aot.apart import run_apart
from resnet_jax.errors import ConfigError
from tests.conftest import ROOT


def limit():
    return resource.getrlimit(resource.RLIMIT_STACK)[0]


def test_threads_have_large_stacks():
    before = limit()
    assert run_apart(limit) >= 2**26 or resource.getrlimit(resource.RLIMIT_STACK)[1] < 2**26
    assert limit() == before


def test_a_compiler_that_ends_its_process_is_named():
    with pytest.raises(ConfigError, match="the compiler ended its process"):
        run_apart(os.abort)


def test_errors_come_back():
    with pytest.raises(ConfigError, match="unknown chip"):
        run_apart(fail)


WAITING = """
import sys
from resnet_jax.aot.apart import run_apart
from tests.aot.test_apart import wait
if __name__ == "__main__":
    run_apart(wait, sys.argv[1])
"""


def wait(file):
    pathlib.Path(file).write_text(f"{os.getpid()}\n")
    time.sleep(600)


def test_a_killed_command_leaves_no_compiler(tmp_path):
    script, file = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(WAITING)
    with subprocess.Popen(
        [sys.executable, script, file], env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as command:
        while not (file.exists() and file.read_text().endswith("\n")):
            time.sleep(0.05)
        compiler = psutil.Process(int(file.read_text()))
        command.send_signal(signal.SIGKILL)
    psutil.wait_procs([compiler], timeout=60)
    assert not compiler.is_running()


def fail():
    raise ConfigError("unknown chip")

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from resnet_jax.machine.cpu import count_cores, count_devices, use_every_core

PROGRAM = """
import resource, sys
from resnet_jax.machine.cpu import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.sum((x @ x.T) @ x))  # 64 MiB between the products
x = jnp.ones((4096, 64))
def faults():
    step(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(-faults() + [faults() for _ in range(20)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_a_step_gets_the_memory_of_the_step_before():
    def count(word):
        command = [sys.executable, "-c", PROGRAM, word]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # Each step asks for 16,384 pages, unless the kernel gives huge ones. With jax 0.11 up to four
    # of the first steps do so in any case: it frees memory a little after the step.
    assert count("kept") < max(count("left") / 4, 100)


@pytest.mark.parametrize(
    ("sizes", "devices"),
    [
        ((120, 240), 6),
        ((128, 240), 4),  # the most that divide both
        ((16, 240), 2),  # at least eight images each
        ((1,), 1),
    ],
)
def test_each_core_is_a_device_as_far_as_the_batches_divide(sizes, devices):
    assert count_devices(*sizes, cores=6) == devices


def devices_in_a_process(**environment):
    code = (
        "import jax\n"
        "from resnet_jax.machine.cpu import use_every_core\n"
        "use_every_core(5040)\n"
        "print(jax.device_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({}, count_devices(5040, cores=count_cores())),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
    ],
    ids=str,
)
def test_a_process_has_these_devices_unless_it_is_told(environment, devices):
    assert devices_in_a_process(**environment) == devices


def test_every_core_is_left_alone_once_jax_began():
    before = jax.device_count(), jax.config.jax_num_cpu_devices
    use_every_core(128)
    assert (jax.device_count(), jax.config.jax_num_cpu_devices) == before

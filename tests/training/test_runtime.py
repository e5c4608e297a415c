import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from resnet_jax.training.runtime import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.sum((x @ x) @ x))  # 16 MiB between the products
x = jnp.ones((2048, 2048))
def faults():
    step(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
faults()
print(-faults() + [faults() for _ in range(4)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_a_step_gets_the_memory_of_the_step_before():
    def count(word):
        command = [sys.executable, "-c", PROGRAM, word]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    # Four steps ask for 4,096 pages each, unless the kernel gives huge ones.
    assert count("kept") < min(1000, max(count("left"), 100))

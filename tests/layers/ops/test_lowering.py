"""The switch of the forms for CPUs."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp
from flax import nnx
from resnet_jax import ResidualBlock, functional
from resnet_jax.layers import max_pool
init, apply = functional(ResidualBlock, 16, 16)
variables = jax.eval_shape(init, jax.random.key(0))
x = jax.ShapeDtypeStruct((2, 32, 32, 16), jnp.float32)
step = jax.jit(jax.grad(lambda params, stats, x: apply(params, stats, max_pool(x), True)[0].sum()))
texts = [step.trace(*variables, x).lower(lowering_platforms=(p,)).as_text() for p in ("cpu", "tpu")]
print(*(text.count("stablehlo.convolution") for text in texts))
"""


def run(switch):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"RESNET_JAX_CPU_FORMS": switch},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("switch", "alike"), [("1", False), ("0", True)])
def test_the_forms_for_cpus_can_be_switched_off(switch, alike):
    done = run(switch)
    assert done.returncode == 0, done.stderr
    cpu, tpu = map(int, done.stdout.split())
    assert tpu == 3 + 3 + 1  # three layers, their kernels' gradients, and one from layer to layer
    assert (cpu == tpu) == alike


def test_another_word_for_the_switch_is_refused():
    assert "RESNET_JAX_CPU_FORMS='no' in the environment: write 0 or 1" in run("no").stderr

"""Counts of compiled programs, on programs whose counts are known."""

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.aot.hlo import collectives, memory_traffic, opcodes, parse_hlo, type_bytes

pytestmark = pytest.mark.usefixtures("optimized")
N = 4096


def parsed(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return parse_hlo(jax.jit(function).lower(*arguments).compile())


@pytest.mark.parametrize(
    ("text", "all_bytes", "off_chip"),
    [
        ("f32[]", 4, 4),
        ("bf16[8,128]{1,0:T(8,128)(2,1)}", 2048, 2048),
        ("bf16[8,128]{1,0:T(8,128)(2,1)S(1)}", 2048, 0),
        ("(s8[3]{0}, (u32[2]{0:S(2)}, pred[5]))", 16, 8),
        ("(f8e4m3fn[10], c64[2], s4[4])", 28, 28),
        ("token[]", 0, 0),
    ],
)
def test_bytes_of_a_type(text, all_bytes, off_chip):
    assert type_bytes(text) == all_bytes
    assert type_bytes(text, on_chip=True) == off_chip


def test_a_fused_program_reads_its_input_and_writes_its_output():
    module = parsed(lambda x: jnp.sin(x) * 2 + 1, (N,))
    assert memory_traffic(module, platform="cpu") == 2 * 4 * N
    assert collectives(module) == {}


def test_an_operand_that_is_used_twice_is_read_once():
    module = parsed(lambda x: jnp.dot(x, x), (64, 64))
    assert memory_traffic(module, platform="cpu") == 2 * 4 * 64 * 64


def test_a_loop_counts_as_often_as_it_runs():
    def loop(times):
        return parsed(
            lambda x: jax.lax.fori_loop(0, times, lambda _, x: jnp.sin(x @ x), x), (64, 64)
        )

    traffic = {times: memory_traffic(loop(times), platform="cpu") for times in (3, 6, 9)}
    assert traffic[6] - traffic[3] == traffic[9] - traffic[6]
    assert traffic[6] - traffic[3] >= 3 * 2 * 4 * 64 * 64  # the product, each time
    assert opcodes(loop(3))["while"] == 1


def test_of_branches_the_bytes_are_those_of_all():
    module = parsed(lambda x: jax.lax.cond(x[0] > 0, jnp.sort, jnp.cumsum, x), (N,))
    assert memory_traffic(module, platform="cpu") >= 4 * 4 * N

"""Random parameters: their distributions, and on what they depend."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import Bottleneck, ResidualBlock
from resnet_jax.models.initialize import initialize


def test_initialize_draws_from_the_declared_distributions():
    build = functools.partial(ResidualBlock, 64, 64)
    module = initialize(build, jax.random.key(0))
    assert jnp.std(module.conv1.kernel[...]) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert (module.conv1.kernel[...] != module.conv2.kernel[...]).any()


def test_initialize_is_a_function_of_the_key_compiled_or_not():
    def state(key):
        return nnx.state(initialize(functools.partial(ResidualBlock, 8, 16), key))

    key = jax.random.key(0)
    chex.assert_trees_all_equal(state(key), state(key), jax.jit(state)(key))
    assert (state(key).conv1.kernel[...] != state(jax.random.key(1)).conv1.kernel[...]).any()


@pytest.mark.parametrize("size", [1, 2 * 3 * 3 * 8 * 8, 2**20])
def test_initialize_gives_the_same_in_any_groups(size, monkeypatch):
    def state():
        return nnx.state(initialize(functools.partial(Bottleneck, 32, 64), jax.random.key(0)))

    expected = state()
    monkeypatch.setattr("resnet_jax.models.initialize.GROUP", size)
    chex.assert_trees_all_equal(state(), expected)
    chex.assert_trees_all_equal(jax.jit(state)(), expected)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_initialize_takes_every_kind_of_key(impl):
    key = jax.random.key(0, impl=impl)
    module = initialize(functools.partial(ResidualBlock, 64, 64), key)
    assert jnp.std(module.conv1.kernel[...]) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert (module.conv1.kernel[...] != module.conv2.kernel[...]).any()


def test_initialize_makes_some_parameters_only():
    build = functools.partial(ResidualBlock, 8, 16)
    everything = initialize(build, jax.random.key(0))
    some = initialize(build, jax.random.key(0), only=lambda path: path[0] == "conv2")
    chex.assert_trees_all_equal(nnx.state(some.conv2), nnx.state(everything.conv2))
    assert isinstance(some.conv1.kernel.get_value(), jax.ShapeDtypeStruct)


def test_initialize_without_random_numbers():
    norm = initialize(functools.partial(nnx.BatchNorm, 4), jax.random.key(0))
    chex.assert_trees_all_equal(norm.scale[...], jnp.ones(4))

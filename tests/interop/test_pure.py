"""Blocks as pure functions, and what every jitted step relies on."""

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import BasicBlock, Bottleneck, PlainBlock, ResidualBlock, functional


@pytest.fixture(params=[ResidualBlock, BasicBlock, PlainBlock, Bottleneck])
def functions(request):
    return functional(request.param, 8, 16, stride=2)


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(1), (4, 6, 6, 8))


def test_pure(functions, x):
    """The same inputs give the same outputs bit for bit, and stay as they were."""
    init, apply = functions
    state = init(jax.random.key(0))
    chex.assert_trees_all_equal(state, init(jax.random.key(0)))
    before = jax.tree.map(jnp.copy, (state, x))
    with jax.checking_leaks():
        first = apply(*state, x, True)
        jitted = jax.jit(apply, static_argnames="train")
        compiled = jitted(*state, x, train=True)
    chex.assert_trees_all_equal(first, apply(*state, x, True))
    chex.assert_trees_all_equal(compiled, jitted(*state, x, train=True))
    chex.assert_trees_all_close(first, compiled, rtol=1e-5, atol=1e-5)  # fused otherwise
    chex.assert_trees_all_equal((state, x), before)


def test_statistics_move_in_training_alone(functions, x):
    init, apply = functions
    params, batch_stats = init(jax.random.key(0))
    _, trained = apply(params, batch_stats, x, True)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), trained, batch_stats)
    assert all(jax.tree.leaves(moved))
    _, evaluated = apply(params, batch_stats, x, False)
    chex.assert_trees_all_equal(evaluated, batch_stats)


def test_one_trace_for_each_shape_and_mode(functions, x):
    chex.clear_trace_counter()
    init, apply = functions
    traced = chex.assert_max_traces(apply, n=3)
    step = jax.jit(traced, static_argnames="train")
    state = init(jax.random.key(0))
    for _ in range(3):
        for batch, train in ((x, True), (x, False), (x[:2], True)):
            step(*state, batch, train=train)
    with pytest.raises(AssertionError, match="traced > 3 times"):
        step(*state, x[:3], train=True)


def test_equals_the_module(x):
    init, apply = functional(ResidualBlock, 8, 16)
    params, batch_stats = init(jax.random.key(0))
    block = ResidualBlock(8, 16, rngs=nnx.Rngs(1))
    nnx.update(block, nnx.State(params), nnx.State(batch_stats))
    y, updated = apply(params, batch_stats, x, True)
    chex.assert_trees_all_equal(y, block(x))
    chex.assert_trees_all_equal(updated, nnx.to_pure_dict(nnx.state(block, nnx.BatchStat)))


def test_randomness_is_an_argument(x):
    init, apply = functional(BasicBlock, 8, 8, drop_path_rate=0.5)
    state = init(jax.random.key(0))
    assert jax.tree.structure(state[0]) == jax.tree.structure(
        functional(BasicBlock, 8, 8)[0](jax.random.key(0))[0]
    )
    outputs = [apply(*state, x, True, nnx.Rngs(dropout=seed))[0] for seed in (0, 0, 3)]
    chex.assert_trees_all_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen, nnx

import resnet_jax
from resnet_jax import BasicBlock, ResidualBlock
from resnet_jax.interop.linen import to_linen


class Net(linen.Module):
    """A Linen model that someone else might write around our blocks."""

    @linen.compact
    def __call__(self, x, train):
        x = to_linen(ResidualBlock, 3, 8, name="block1")(x, train=train)
        x = to_linen(BasicBlock, 8, 8, drop_path_rate=0.5, name="block2")(x, train=train)
        return linen.Dense(2)(x.mean((1, 2)))


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(0), (8, 6, 6, 3))


@pytest.fixture
def variables(x):
    return Net().init(jax.random.key(1), x, train=False)


def test_is_at_hand_after_importing_the_package():
    assert resnet_jax.linen.to_linen is to_linen


def test_variables_are_plain_arrays_in_two_collections(variables):
    assert set(variables) == {"params", "batch_stats"}
    chex.assert_shape(variables["params"]["block1"]["conv1"]["kernel"], (3, 3, 3, 8))
    chex.assert_shape(variables["batch_stats"]["block2"]["norm2"]["var"], (8,))


def test_equals_the_nnx_block(variables, x):
    block = ResidualBlock(3, 8, rngs=nnx.Rngs(0))
    linen_block = to_linen(ResidualBlock, 3, 8)
    mine = {name: tree["block1"] for name, tree in variables.items()}
    nnx.update(block, nnx.State(mine["params"]), nnx.State(mine["batch_stats"]))
    y, updates = linen_block.apply(mine, x, train=True, mutable=["batch_stats"])
    chex.assert_trees_all_equal(y, block(x))
    expected = nnx.to_pure_dict(nnx.state(block, nnx.BatchStat))
    chex.assert_trees_all_equal(updates["batch_stats"], expected)
    block.eval()
    mine["batch_stats"] = updates["batch_stats"]
    chex.assert_trees_all_equal(linen_block.apply(mine, x, train=False), block(x))


def test_trains_in_a_jitted_step(variables, x):
    labels = jnp.arange(8) % 2
    optimizer = optax.sgd(0.1)

    @jax.jit
    def step(variables, opt_state, key):
        def loss_fn(params):
            logits, updates = Net().apply(
                {**variables, "params": params},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updates

        (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])
        changes, opt_state = optimizer.update(grads, opt_state)
        return (
            {"params": optax.apply_updates(variables["params"], changes), **updates},
            opt_state,
            loss,
        )

    opt_state = optimizer.init(variables["params"])
    losses = []
    for key in jax.random.split(jax.random.key(2), 20):
        variables, opt_state, loss = step(variables, opt_state, key)
        losses.append(loss)
    assert losses[-1] < 0.5 * losses[0]


def test_lost_statistics_are_refused(variables, x):
    with pytest.raises(ValueError, match=r"pass mutable=\['batch_stats'\] to apply"):
        Net().apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)})


def test_missing_randomness_is_refused(variables, x):
    with pytest.raises(ValueError, match=r"DropPath\(rate=0.5\) needs randomness"):
        Net().apply(variables, x, train=True, mutable=["batch_stats"])

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import ConfigError, ResNetConfig, create_model
from resnet_jax.models import grow

TINY = ResNetConfig(
    depths=(1, 2), widths=(8, 16), stem="cifar", stem_features=8, num_classes=5, in_features=2
)
BOTTLENECK = dataclasses.replace(TINY, block="bottleneck", widths=(16, 32))


def draw(config):
    """Builds a network whose scales and statistics are not those of a new one."""
    model = create_model(config, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    for _, leaf in nnx.to_flat_state(nnx.state(model)):
        if leaf.get_value().ndim == 1:
            leaf.set_value(jnp.asarray(rng.uniform(0.5, 1.5, leaf.get_value().shape), jnp.float32))
    return model


@pytest.fixture
def images():
    return jax.random.normal(jax.random.key(1), (4, 8, 8, 2))


CONFIGS = {
    "b": TINY,
    "a": dataclasses.replace(TINY, shortcut="a"),
    "bottleneck": dataclasses.replace(BOTTLENECK, attention="se", shortcut="d"),
    "preactivation": dataclasses.replace(TINY, block="preactivation_basic", activation="silu"),
    "group norm": dataclasses.replace(TINY, norm="group", widths=(32, 32), stem_features=32),
}
# The statistics of a batch are those of the layer, however the rest is built.
MODES = [*((name, "eval") for name in CONFIGS), ("b", "train"), ("preactivation", "train")]


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_a_grown_network_computes_the_same_bits(name, mode, images):
    config = CONFIGS[name]
    shallow = draw(config)
    deep = grow(shallow, (3, 4), rngs=nnx.Rngs(1))
    assert deep.config == dataclasses.replace(config, depths=(3, 4), zero_init_last=True)
    logits = []
    for model in (shallow, deep):
        getattr(model, mode)()
        logits.append(model(images))
    chex.assert_trees_all_equal(*logits)


def test_a_grown_network_shares_nothing_and_can_learn(images):
    shallow = draw(TINY)
    before = jax.tree.map(jnp.copy, nnx.state(shallow))
    deep = grow(shallow, (2, 3), rngs=nnx.Rngs(1))
    gradient = nnx.grad(lambda model: jnp.square(model(images)).sum())(deep)
    new = gradient["stages"][0][1]
    assert jnp.abs(new["norm2"]["scale"][...]).max() > 0
    chex.assert_tree_all_finite(gradient)
    for _, leaf in nnx.to_flat_state(nnx.state(deep)):
        leaf.set_value(leaf.get_value() + 1)
    chex.assert_trees_all_equal(nnx.state(shallow), before)


def test_new_blocks_are_drawn_from_the_key():
    shallow = draw(TINY)
    kernels = [grow(shallow, (2, 2), rngs=nnx.Rngs(seed)).stages[0][1].conv1 for seed in (0, 0, 1)]
    first, again, other = (conv.kernel[...] for conv in kernels)
    chex.assert_trees_all_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("settings", "depths", "message"),
    [
        ({}, (2, 1), r"depths=\(2, 1\) do not grow from \(1, 2\)"),
        ({}, (2, 2, 2), r"depths=\(2, 2, 2\) and widths=\(8, 16\) need one entry for each stage"),
        ({"block": "plain"}, (2, 2), r"block='plain' cannot grow"),
        ({"shortcut": "c"}, (2, 2), r"shortcut='c' cannot grow"),
        ({"activation": "silu"}, (2, 2), r"activation='silu' cannot grow"),
    ],
)
def test_what_cannot_grow_is_refused_in_one_line(settings, depths, message):
    model = create_model(dataclasses.replace(TINY, **settings), rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match=message) as error:
        grow(model, depths, rngs=nnx.Rngs(0))
    assert "\n" not in str(error.value)

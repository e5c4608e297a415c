"""Copies of a network have its structure, so that nothing is compiled for them again."""

import copy
import pickle

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import Parts, ResNet, ResNetConfig
from resnet_jax.layers import Bound, initializers
from resnet_jax.models.stem import STEM_POOLS, STEMS
from resnet_jax.models.tables import (
    ACTIVATIONS,
    ANTIALIASING,
    ATTENTIONS,
    BLOCKS,
    CONVOLUTIONS,
    NORMS,
    SHORTCUTS,
)

TINY = {"depths": (1, 1), "widths": (32, 64), "stem": "cifar", "stem_features": 32}
TABLES = {
    "activation": ACTIVATIONS,
    "antialiasing": ANTIALIASING,
    "attention": ATTENTIONS,
    "block": BLOCKS,
    "convolution": CONVOLUTIONS,
    "norm": NORMS,
    "shortcut": SHORTCUTS,
    "stem": STEMS,
    "stem_pool": STEM_POOLS,
}
CASES = [{field: name} for field, table in TABLES.items() for name in table]
CASES += [{"shortcut": "d", "output_stride": 1}, {"zero_init_last": True, "dropout_rate": 0.5}]


def by_cloudpickle(value):
    cloudpickle = pytest.importorskip("cloudpickle")
    return pickle.loads(cloudpickle.dumps(value))


def by_pickle(value):
    return pickle.loads(pickle.dumps(value))


COPIES = [nnx.clone, copy.deepcopy, by_pickle, by_cloudpickle]


def build(case):
    """Builds a network of zeros, which takes no compilation."""
    activates = NORMS[case.get("norm", "batch")].activates
    block = {"block": "preactivation_basic"} if activates else {}
    config = ResNetConfig(**(TINY | block | case))
    graphdef, state = nnx.split(nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0))))
    return nnx.merge(graphdef, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_copies_are_not_traced_again(case):
    traced = []

    @jax.jit
    def of_module(module):
        traced.append("module")
        return 0

    @nnx.jit
    def of_nnx(module):
        traced.append("nnx")
        return 0

    def of_structure(graphdef, state):
        traced.append("structure")
        return 0

    of_structure = jax.jit(of_structure, static_argnums=0)
    model = build(case)
    for other in [model, build(case), *(copied(model) for copied in COPIES)]:
        of_module(other)
        of_nnx(other)
        of_structure(*nnx.split(other))
    assert sorted(traced) == ["module", "nnx", "structure"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parts_and_structures_equal_their_copies(case):
    model = build(case)
    for value in (nnx.graphdef(model), model.config.parts(), model.stages[0][0].act):
        for copied in COPIES[1:]:
            assert copied(value) == value


@pytest.mark.parametrize("copied", COPIES[1:])
@pytest.mark.parametrize(
    "value",
    [Parts(), initializers.kaiming_normal, initializers.classifier_uniform],
    ids=["parts", "kaiming_normal", "classifier_uniform"],
)
def test_parts_and_initialisers_equal_their_copies(copied, value):
    assert copied(value) == value


def test_initialisers_with_other_settings_differ():
    one, other = (initializers.variance_scaling(n, "fan_in", "normal") for n in (1.0, 2.0))
    assert one != other


def test_an_argument_of_the_call_replaces_a_bound_one():
    assert Bound(dict, a=1, b=2)(b=3) == {"a": 1, "b": 3}

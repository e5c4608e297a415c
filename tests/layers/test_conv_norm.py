import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax.layers import (
    BatchNorm,
    conv,
    conv1x1,
    convolve_and_normalize,
    group_norm,
    standardized_conv,
)

HALF = jnp.bfloat16
FOLDING = functools.partial(BatchNorm, fold=True)


def build(make_conv, norm, *, dtype=HALF, features=(8, 32), **settings):
    rngs = nnx.Rngs(0)
    layers = (
        make_conv(*features, dtype=dtype, rngs=rngs, **settings),
        norm(features[1], dtype=dtype, rngs=rngs),
    )
    x = jax.random.normal(jax.random.key(1), (4, 6, 6, features[0]))
    return *layers, jnp.maximum(x, 0).astype(dtype or jnp.float32)


plain = functools.partial(conv1x1, use_bias=False)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("group_size", [None, 2])
def test_it_is_norm_after_convolution(stride, group_size):
    convolution, norm, x = build(
        plain, functools.partial(FOLDING, group_size=group_size), stride=stride
    )
    usual = nnx.clone(norm)
    expected = usual(convolution(x))
    found = convolve_and_normalize(convolution, norm, x)
    assert found.dtype == HALF
    # Three roundings to 8 bits of values up to four.
    chex.assert_trees_all_close(found, expected, atol=0.05)
    chex.assert_trees_all_close(nnx.state(norm), nnx.state(usual), rtol=1e-2, atol=1e-3)
    assert not np.array_equal(found, expected)  # it is folded: this is another rounding


def in_dtype(norm_dtype, features, **settings):
    return FOLDING(features, **settings | {"dtype": norm_dtype})


KEPT_APART = {
    "not asked for": (plain, BatchNorm, {}),
    "float32": (plain, FOLDING, {"dtype": jnp.float32}),
    "dtype of the parameters": (plain, FOLDING, {"dtype": None}),
    "exact variance": (plain, functools.partial(FOLDING, two_pass=True), {}),
    "evaluation": (plain, functools.partial(FOLDING, use_running_average=True), {}),
    "another norm": (plain, group_norm, {"features": (8, 64)}),
    "a bias": (conv1x1, FOLDING, {}),
    "another dtype of the norm": (plain, functools.partial(in_dtype, jnp.float32), {}),
    "few features": (plain, FOLDING, {"features": (32, 32)}),
    "3x3": (functools.partial(conv, kernel_size=3), FOLDING, {}),
    "groups": (functools.partial(conv, kernel_size=1, groups=2), FOLDING, {}),
    "a standardised kernel": (functools.partial(standardized_conv, kernel_size=1), FOLDING, {}),
}


@pytest.mark.parametrize(("make", "norm", "settings"), KEPT_APART.values(), ids=list(KEPT_APART))
def test_otherwise_the_layers_are_applied_one_after_the_other(make, norm, settings):
    convolution, norm, x = build(make, norm, **settings)
    usual = nnx.clone(norm)
    expected = usual(convolution(x))
    found = convolve_and_normalize(convolution, norm, x)
    chex.assert_trees_all_equal(found, expected)
    chex.assert_trees_all_equal(nnx.state(norm), nnx.state(usual))


def test_an_empty_batch_is_empty_and_changes_nothing():
    convolution, norm, x = build(plain, FOLDING)
    before = nnx.clone(norm)
    assert convolve_and_normalize(convolution, norm, x[:0]).shape == (0, 6, 6, 32)
    chex.assert_trees_all_equal(nnx.state(norm), nnx.state(before))


def test_a_batch_divides_into_its_groups():
    convolution, norm, x = build(plain, functools.partial(FOLDING, group_size=3))
    with pytest.raises(ValueError, match="a batch of 4 does not divide"):
        convolve_and_normalize(convolution, norm, x)

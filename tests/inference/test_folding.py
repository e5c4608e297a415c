import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from resnet_jax.inference.folding import fold_batch_norm
from resnet_jax.layers import BatchNorm
from resnet_jax.models import ResNetConfig

BASIC = ResNetConfig(depths=(1, 2), widths=(8, 16), stem="cifar", stem_features=8, num_classes=3)
BOTTLENECK = dataclasses.replace(BASIC, block="bottleneck", widths=(16, 32))
CASES = {
    "basic": (BASIC, 0),
    "shortcut_a": (dataclasses.replace(BASIC, shortcut="a"), 0),
    "bottleneck": (dataclasses.replace(BOTTLENECK, stem="deep", shortcut="d"), 0),
    "plain": (dataclasses.replace(BASIC, block="plain"), 0),
    "squeeze": (dataclasses.replace(BOTTLENECK, attention="se", squeeze_ratio=0.25), 0),
    "blurred": (dataclasses.replace(BOTTLENECK, antialiasing="blur", stem_pool="conv"), 0),
    # The norms that come first in a block, and the last one of all, follow no convolution.
    "preactivation": (dataclasses.replace(BASIC, block="preactivation_basic"), 4),
    "preactivation_bottleneck": (
        dataclasses.replace(BOTTLENECK, block="preactivation_bottleneck", stem="deep"),
        4,
    ),
    "group_norm": (dataclasses.replace(BASIC, norm="group", widths=(32, 64), stem_features=32), 0),
    "standardized": (dataclasses.replace(BASIC, convolution="standardized"), 8),
}


@pytest.mark.parametrize("name", CASES)
def test_a_folded_network_computes_the_same(build, name):
    config, left = CASES[name]
    model = build(config)
    folded = fold_batch_norm(model)
    images = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    expected = np.asarray(nnx.jit(lambda net, x: net(x))(model, images))
    result = np.asarray(nnx.jit(lambda net, x: net(x))(folded, images))
    np.testing.assert_allclose(result, expected, atol=1e-5 * np.abs(expected).max())
    norms = [part for _, part in nnx.iter_modules(folded) if isinstance(part, BatchNorm)]
    assert len(norms) == left
    before = [part for _, part in nnx.iter_modules(model) if isinstance(part, BatchNorm)]
    if name not in ("group_norm", "standardized"):
        assert len(before) > left

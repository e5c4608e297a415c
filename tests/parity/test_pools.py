"""Every pool of the zoo against timm's, at odd, even and not square sizes of the map."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.parity import SIZES, compare, difference, randomize
from resnet_jax import list_models, model_config
from resnet_jax.blocks import Parts, PooledProjection
from resnet_jax.models.stem import STEM_POOLS
from resnet_jax.models.tables import ANTIALIASING
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import pretrained_tags

FEATURES = 64  # those of every stem without parameters in its pool
MAPS = [(8, 8), (9, 9), (8, 11), (7, 10), (12, 5), (13, 13), (3, 2), (2, 6)]
SHALLOW = (1, 1, 1, 1)

# A network for each pool that follows a stem and has no parameters.
POOLS = {
    model_config(name).pool: name
    for name in reversed(list_models())
    if pretrained_tags(name) and model_config(name).pool != "conv"
}

# A network for each pool and each shortcut that pools or strides.
NETWORKS = [
    "resnet18",
    "resnet10t",
    "senet154",
    "resnetblur18",
    "resnetaa34d",
    "resnetaa50",
    "resnetrs50",
    "resnetv2_18d",
]


def maps(torch, size):
    array = np.random.default_rng(0).normal(size=(1, *size, FEATURES)).astype(np.float32)
    return jnp.asarray(array), torch.from_numpy(array).permute(0, 3, 1, 2)


def stem_pool(name, timm, torch):
    """timm's pool of a network."""
    if name.startswith("resnetv2"):
        stem_type = "fixed" if name.endswith("_bit") else ""
        stem = timm.models.resnetv2.create_resnetv2_stem(3, FEATURES, stem_type=stem_type)
        return torch.nn.Sequential(*[stem.pad] if stem_type else [], stem.pool)
    return timm.create_model(name, layers=SHALLOW, channels=SHALLOW).maxpool


@pytest.mark.parametrize(("pool", "name"), POOLS.items(), ids=POOLS)
def test_stem_pools(pool, name, timm, torch):
    ours = jax.jit(STEM_POOLS[pool].build(FEATURES, parts=Parts()))
    theirs = stem_pool(name, timm, torch)
    for size in MAPS:
        x, y = maps(torch, size)
        assert difference(ours(x), theirs(y)) < 1e-6, size


def test_every_pool_is_compared():
    used = {model_config(name).pool for name in list_models() if pretrained_tags(name)}
    assert used - {"conv"} == set(POOLS)
    assert set(POOLS) | {"conv", "none"} == set(STEM_POOLS)


@pytest.mark.parametrize(("stride", "dilation"), [(2, 1), (1, 2), (1, 4)])
def test_shortcut_pools(stride, dilation, timm, torch):
    settings = {"stride": stride, "dilation": dilation}
    parts = Parts().bind(rngs=nnx.Rngs(0))
    build = {"conv": parts.conv, "norm": parts.norm}
    ours = jax.jit(PooledProjection(FEATURES, FEATURES, **settings, **build).pool)
    theirs = timm.models.resnet.downsample_avg(FEATURES, FEATURES, 1, **settings)[0]
    for size in MAPS:
        x, y = maps(torch, size)
        assert difference(ours(x), theirs(y)) < 1e-6, size


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("name", "kind"), [("average", "avg"), ("blur", "blur")])
def test_block_pools(name, kind, stride, timm, torch):
    ours = jax.jit(ANTIALIASING[name], static_argnames="stride")
    theirs = timm.layers.create_aa(kind, channels=FEATURES, stride=stride)
    for size in MAPS:
        x, y = maps(torch, size)
        mine, expected = ours(x, stride=stride), theirs(y)
        if mine.shape[1:3] == tuple(expected.shape[2:]):
            assert difference(mine, expected) < 1e-6, size
        else:
            # timm's pool rounds down and its shortcut up, so that it cannot add them. Ours can.
            assert name == "average"
            assert mine.shape[1:3] == tuple(-(-side // stride) for side in size)


LARGE = ("senet154",)  # benchmarks/parity.py dilates it as well, and compares resnetv2_50x1_bit


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        (name, stride)
        for name in NETWORKS
        for stride in (None, 8)
        if stride is None or name not in LARGE
    ],
)
def test_networks(name, output_stride, timm, torch):
    """Maps and logits of networks that keep the first block of each stage, at all sizes."""
    torch.manual_seed(0)
    config = model_config(name, output_stride=output_stride)
    settings = {"output_stride": output_stride or 32, "layers": SHALLOW}
    config = dataclasses.replace(config, depths=SHALLOW)
    theirs = timm.create_model(name, **settings).eval()
    randomize(theirs, torch)
    ours = skeleton(config)
    load_torch(ours, theirs.state_dict())
    ours.eval()
    errors = [compare(ours, theirs, torch, size) for size in SIZES]
    known = [error for error in errors if error is not None]
    assert len(known) == len(SIZES) or (config.antialiasing == "average" and len(known) >= 5)
    assert max(known) < 1e-4

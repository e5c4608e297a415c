"""Global pools and intermediate maps against timm's."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.parity import randomize
from resnet_jax import create_model, load_torch
from resnet_jax.layers import GLOBAL_POOLS


@pytest.mark.parametrize("name", GLOBAL_POOLS)
def test_the_values_are_those_of_timm(name, torch, timm):
    x = np.random.default_rng(0).normal(size=(2, 5, 3, 8)).astype(np.float32)
    pool = timm.layers.SelectAdaptivePool2d(pool_type=name, flatten=bool(name))
    theirs = pool(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    ours = GLOBAL_POOLS[name].apply(jnp.asarray(x))
    theirs = theirs if name else theirs.transpose(0, 2, 3, 1)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert ours.shape[-1] == 8 * GLOBAL_POOLS[name].factor
    assert pool.feat_mult() == GLOBAL_POOLS[name].factor


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(
    ("name", "classes"), [("catavgmax", 3), ("avgmax", 3), ("max", 0), ("", 0)]
)
def test_networks_are_those_of_timm(name, classes, torch, timm):
    theirs = timm.create_model("test_resnet", num_classes=classes, global_pool=name).eval()
    randomize(theirs, torch)
    ours = create_model("test_resnet", num_classes=classes, global_pool=name)
    load_torch(ours, theirs.state_dict())
    ours.eval()
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
    wanted = wanted if name else wanted.transpose(0, 2, 3, 1)
    chex.assert_trees_all_close(ours(jnp.asarray(x)), wanted, rtol=1e-3, atol=1e-3)
    assert ours.num_features == theirs.num_features
    assert ours.num_classes == theirs.num_classes


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", ["test_resnet", "resnetv2_18"])
def test_intermediates_are_those_of_timm(name, torch, timm):
    theirs = timm.create_model(name).eval()
    randomize(theirs, torch)
    ours = create_model(name)
    load_torch(ours, theirs.state_dict())
    ours.eval()
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    settings = {"indices": 3, "norm": True, "intermediates_only": True}
    with torch.no_grad():
        wanted = theirs.forward_intermediates(torch.from_numpy(x.transpose(0, 3, 1, 2)), **settings)
    wanted = [map_.numpy().transpose(0, 2, 3, 1) for map_ in wanted]
    maps = ours.forward_intermediates(jnp.asarray(x), **settings)
    chex.assert_trees_all_close(maps, wanted, rtol=1e-3, atol=1e-3)

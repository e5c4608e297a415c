"""The networks of the zoo against timm's: names, shapes, records, logits, maps, gradients."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.parity import randomize
from resnet_jax import BatchNormConfig, list_models, model_config
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import describe, pretrained_info, pretrained_tags

NAMES = [name for name in list_models() if pretrained_tags(name)]

# Training and all that leads to it: one network for each part, of few blocks of each kind.
FEW = (1, 2, 1, 1)
TRAINED = [
    "resnet10t",
    "resnet50_gn",
    "resnext50_32x4d",
    "ecaresnet26t",
    "resnetblur18",
    "resnetaa34d",
    "resnetrs50",
    "test_resnet",
    "resnetv2_18d",
    "resnetv2_50x1_bit",
    "resnetv2_50d_evos",
    "resnetv2_50d_frn",
]

# Whole networks, none of them deep: other ways of combining the parts.
LOGITS = [
    "resnet14t",
    "resnet18",
    "resnet18d",
    "resnet26",
    "resnet34",
    "resnet50c",
    "resnet50s",
    "wide_resnet50_2",
    "resnext50d_32x4d",
    "ecaresnetlight",
    "seresnet18",
    "seresnet50t",
    "seresnext26d_32x4d",
    "resnetblur50d",
    "seresnetaa50d",
    "resnetv2_18",
    "resnetv2_34d",
    "resnetv2_50t",
]


def error(ours, theirs):
    """The greatest difference over the greatest value; of maps in NHWC and NCHW."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    if theirs.ndim == 4:
        theirs = theirs.transpose(0, 2, 3, 1)
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def images(torch, size, batch=2):
    array = np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype(np.float32)
    return jnp.asarray(array), torch.from_numpy(array).permute(0, 3, 1, 2)


def pair(name, timm, torch, **settings):
    """timm's network and ours with its weights."""
    torch.manual_seed(0)
    theirs = timm.create_model(name, **settings)
    randomize(theirs, torch)
    ours = skeleton(model_config(name, **settings))
    load_torch(ours, theirs.state_dict())
    return theirs, ours


def test_no_name_is_missing(timm):
    registered = timm.list_models(module="resnet") + timm.list_models(module="resnetv2")
    assert set(NAMES) == {name for name in registered if not name.endswith("_pruned")}
    assert len(NAMES) == 99


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name, timm, torch):
    with torch.device("meta"):
        theirs = timm.create_model(name)
    assert describe(name).parameters == sum(p.numel() for p in theirs.parameters())


def test_records(timm):
    for name in NAMES:
        usual = timm.models.get_pretrained_cfg(name)
        assert usual.tag == pretrained_tags(name)[0]
        for tag in pretrained_tags(name):
            theirs = timm.models.get_pretrained_cfg(f"{name}.{tag}")
            ours = pretrained_info(f"{name}.{tag}")
            see = ours.preprocessing
            assert theirs.input_size == (3, see.size, see.size)
            assert (theirs.crop_pct, theirs.interpolation) == (see.crop_fraction, see.interpolation)
            assert (theirs.mean, theirs.std) == (see.mean, see.std)
            assert (theirs.test_input_size or (3, None, None))[1] == see.test_size
            assert theirs.test_crop_pct == see.test_crop_fraction
            assert theirs.num_classes == ours.num_classes
            assert theirs.license == ours.license
            assert theirs.hf_hub_id == ours.hub_id


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGITS)
def test_logits(name, timm, torch):
    theirs, ours = pair(name, timm, torch)
    x, y = images(torch, 64)
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        assert error(ours(x), theirs(y)) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("resnet26d", 8),
        ("resnetblur18", 16),
        ("resnetaa34d", 8),
        ("senet154", 8),
        ("resnetv2_18d", 8),
    ],
)
def test_dilation(name, output_stride, timm, torch):
    theirs, ours = pair(name, timm, torch, output_stride=output_stride)
    x, y = images(torch, 64, batch=1)
    theirs.eval()
    ours.eval()
    with torch.no_grad():
        expected = theirs.forward_intermediates(y, intermediates_only=True)
    maps = ours.features(x)
    assert max(map(error, maps, expected)) < 1e-4
    assert ours.feature_info[-1].stride == output_stride


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_training(name, timm, torch):
    """Maps, logits, gradients and new statistics, in double precision."""
    torch.manual_seed(0)
    norm = BatchNormConfig(unbiased_variance=True)
    config = dataclasses.replace(model_config(name), batch_norm=norm)
    shallow = {}
    if not name.endswith("_bit"):  # their depths cannot be chosen in timm
        config = dataclasses.replace(config, depths=FEW)
        shallow = {"layers": FEW}
    theirs = timm.create_model(name, **shallow).double()
    randomize(theirs, torch)
    with jax.enable_x64(True):
        ours = skeleton(config, param_dtype=jnp.float64)
        load_torch(ours, theirs.state_dict())
        x, y = images(torch, 64, batch=4)
        x, y = x.astype(jnp.float64), y.double()
        last, expected = theirs.forward_intermediates(y)
        expected.append(theirs.forward_head(last))
        torch.sin(expected[-1]).sum().backward()

        graphdef, params, stats = nnx.split(ours, nnx.Param, nnx.BatchStat)

        def loss(params):
            network = nnx.merge(graphdef, params, stats, copy=True)
            maps = network.features(x)
            logits = network.forward_head(maps[-1])
            return jnp.sum(jnp.sin(logits)), ([*maps, logits], nnx.state(network, nnx.BatchStat))

        gradients, (outputs, stats) = jax.jit(jax.grad(loss, has_aux=True))(params)
        # timm computes the statistics of these two norms in single precision, whatever it is given.
        bound = 1e-4 if name.endswith(("evos", "frn")) else 1e-9
        assert max(map(error, outputs, expected)) < bound

        # Their gradients and new statistics go where their weights went.
        load_torch(ours, theirs.state_dict() | gradients_of(theirs))
        for mine, expected in ((gradients, nnx.Param), (stats, nnx.BatchStat)):
            wanted = nnx.state(ours, expected)
            scale = max((np.abs(leaf).max() for leaf in jax.tree.leaves(wanted)), default=0.0)
            chex.assert_trees_all_close(mine, wanted, rtol=1e-6, atol=bound * scale)


def gradients_of(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}

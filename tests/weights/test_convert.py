"""Weights in from PyTorch's names and layouts, and out again."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import BasicBlock, ResidualBlock
from resnet_jax.models import Backbone
from resnet_jax.weights import WeightsError, load_torch, to_torch
from resnet_jax.weights.leaves import skeleton
from tests.weights.namings import NETWORKS, akamaster_names, transformers_names, values


@pytest.mark.parametrize("fields", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_there_and_back_restores_every_bit(fields, param_dtype, network):
    source = network(seed=1, param_dtype=param_dtype, **fields)
    target = network(seed=2, param_dtype=param_dtype, **fields)
    load_torch(target, to_torch(source))
    chex.assert_trees_all_equal(values(target), values(source))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {},
            {
                "conv1.weight": (8, 3, 7, 7),
                "bn1.running_mean": (8,),
                "layer2.1.conv2.weight": (8, 8, 3, 3),
                "layer2.0.downsample.0.weight": (32, 16, 1, 1),
                "layer2.0.downsample.1.num_batches_tracked": (),
                "fc.weight": (5, 32),
            },
        ),
        (
            NETWORKS["conv_pool_and_se"],
            {
                "conv1.0.weight": (4, 3, 3, 3),
                "conv1.1.weight": (4,),
                "conv1.3.weight": (4, 4, 3, 3),
                "conv1.4.bias": (4,),
                "conv1.6.weight": (8, 4, 3, 3),
                "bn1.weight": (8,),
                "maxpool.0.weight": (8, 8, 3, 3),
                "maxpool.1.running_var": (8,),
                "layer2.0.downsample.1.weight": (32, 16, 1, 1),
                "layer2.0.downsample.2.weight": (32,),
                "layer1.0.se.fc1.bias": (8,),
            },
        ),
        (NETWORKS["eca"], {"layer1.0.se.conv.weight": (1, 1, 3)}),
        (
            NETWORKS["preactivation"],
            {
                "stem.conv.weight": (8, 3, 7, 7),
                "stages.1.blocks.0.downsample.conv.weight": (32, 16, 1, 1),
                "stages.1.blocks.1.norm3.running_mean": (8,),
                "norm.weight": (32,),
                "head.fc.weight": (5, 32, 1, 1),
            },
        ),
    ],
    ids=["resnet", "deep", "eca", "resnetv2"],
)
def test_keys_and_shapes_are_those_of_timm(fields, expected, network):
    shapes = {key: array.shape for key, array in to_torch(network(**fields)).items()}
    assert expected.items() <= shapes.items()


def test_kernels_are_transposed_and_counters_are_zero(network):
    model = network()
    state_dict = to_torch(model)
    kernel = np.asarray(model.stages[0][0].conv2.kernel)
    np.testing.assert_array_equal(state_dict["layer1.0.conv2.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state_dict["fc.weight"], np.asarray(model.head.kernel).T)
    counters = [value for key, value in state_dict.items() if key.endswith("batches_tracked")]
    assert len(counters) == sum(key.endswith("running_mean") for key in state_dict)
    assert all(counter == 0 and counter.dtype == np.int64 for counter in counters)


@pytest.mark.parametrize(
    "wrap",
    [
        transformers_names,
        lambda weights: {
            key.removeprefix("resnet."): value for key, value in transformers_names(weights).items()
        },
        akamaster_names,
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in weights.items()}},
        lambda weights: {"model": {f"_orig_mod.module.{k}": v for k, v in weights.items()}},
        lambda weights: {k: v for k, v in weights.items() if "num_batches" not in k},
        lambda weights: {k: jnp.asarray(v) for k, v in weights.items()},
        lambda weights: {k: v.astype(np.float64) for k, v in weights.items()},
    ],
    ids=[
        "transformers",
        "transformers_model",
        "akamaster",
        "data_parallel",
        "checkpoint",
        "compiled",
        "no_counters",
        "jax_arrays",
        "float64",
    ],
)
def test_naming_and_wrapping_are_recognised(wrap, network):
    source, target = network(seed=1), network(seed=2)
    load_torch(target, wrap(to_torch(source)))
    chex.assert_trees_all_equal(values(target), values(source))


def test_one_error_tells_all_that_does_not_fit_and_changes_nothing(network):
    model = network()
    before = jax.tree.map(np.array, values(model))
    weights = to_torch(network(seed=1))
    del weights["bn1.bias"]
    weights["layer9.weight"] = np.zeros(3, np.float32)
    weights["layer1.0.conv1.weight"] = np.zeros((9, 9, 1, 1), np.float32)
    weights["layer1.0.bn1.weight"] = np.zeros(4, np.int32)
    weights["layer1.0.bn1.bias"] = "text"
    with pytest.raises(WeightsError) as caught:
        load_torch(model, weights)
    message = str(caught.value)
    assert "\n" not in message
    assert "1 missing: bn1.bias" in message
    assert "1 unexpected: layer9.weight" in message
    assert "1 of another shape: layer1.0.conv1.weight [9, 9, 1, 1] for [4, 8, 1, 1]" in message
    assert "2 not an array of floats: layer1.0.bn1.bias, layer1.0.bn1.weight" in message
    chex.assert_trees_all_equal(values(model), before)


def test_long_lists_are_cut_and_counted(network):
    weights = {key: value for key, value in to_torch(network()).items() if "layer2" not in key}
    with pytest.raises(WeightsError, match=r"35 missing: (layer2\S+, ){3}layer2\S+ and 31 more\."):
        load_torch(network(), weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"encoder.weight": np.zeros(3)},
            "belongs to another model: ResNet knows none of its 1 keys",
        ),
        ({}, "holds no weights"),
        ({3: np.zeros(3)}, "holds no weights"),
    ],
    ids=["other_model", "empty", "numbers"],
)
def test_other_state_dicts_are_refused(weights, message, network):
    with pytest.raises(WeightsError, match=message):
        load_torch(network(), weights)


def test_a_pooled_projection_takes_no_weights_of_a_plain_one(network):
    with pytest.raises(WeightsError, match=r"missing: .*downsample\.[12]"):
        load_torch(network(shortcut="d"), to_torch(network()))


def test_a_new_classifier_has_to_be_asked_for(network):
    model, weights = network(num_classes=7), to_torch(network(seed=1))
    head = np.array(model.head.kernel)
    with pytest.raises(WeightsError, match=r"fc.weight \[5, 32\] for \[7, 32\].*new_head=True"):
        load_torch(model, weights)
    load_torch(model, weights, new_head=True)
    np.testing.assert_array_equal(model.head.kernel, head)
    chex.assert_trees_all_equal(values(model)["stages"], values(network(seed=1))["stages"])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_image_channels_have_to_be_asked_for(channels, network):
    model, weights = network(in_features=channels), to_torch(network(seed=1))
    with pytest.raises(WeightsError, match=r"conv1.weight.*adapt_input=True"):
        load_torch(model, weights)
    load_torch(model, weights, adapt_input=True)
    old, new = np.asarray(network(seed=1).stem.conv.kernel), np.asarray(model.stem.conv.kernel)
    if channels == 1:
        expected = old.sum(axis=2, keepdims=True)
    else:
        expected = np.stack([old[:, :, c % 3] for c in range(channels)], 2) * 3 / channels
    np.testing.assert_allclose(new, expected, rtol=1e-6)


def test_a_remedy_is_offered_only_if_it_fixes_everything(network):
    weights = to_torch(network(seed=1)) | {"layer9.weight": np.zeros(3, np.float32)}
    with pytest.raises(WeightsError) as caught:
        load_torch(network(num_classes=7), weights)
    assert "new_head" not in str(caught.value)


def test_parameters_keep_their_dtype_and_statistics_stay_in_float32(network):
    model = network(param_dtype=jnp.bfloat16)
    load_torch(model, to_torch(network(seed=1)))
    for kind, dtype in ((nnx.Param, jnp.bfloat16), (nnx.BatchStat, jnp.float32)):
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(nnx.state(model, kind)))


def test_later_changes_of_the_source_do_not_reach_the_module(network):
    model, weights = network(), to_torch(network(seed=1))
    writable = {key: np.array(value) for key, value in weights.items()}
    load_torch(model, writable)
    for value in writable.values():
        value.fill(7)
    chex.assert_trees_all_equal(values(model), values(network(seed=1)))


def test_a_skeleton_is_filled(network, tiny):
    model = skeleton(tiny)
    load_torch(model, to_torch(network(seed=1)))
    chex.assert_trees_all_equal(values(model), values(network(seed=1)))


def test_a_backbone_takes_its_share_and_nothing_unknown(network):
    weights = to_torch(network(seed=1))
    backbone = Backbone(network(), out_indices=(1,))
    load_torch(backbone, weights)
    chex.assert_trees_all_equal(values(backbone)["stages"][0], values(network(seed=1))["stages"][0])
    with pytest.raises(WeightsError, match=r"1 unexpected: layer2\.7\.conv1\.weight"):
        load_torch(backbone, weights | {"layer2.7.conv1.weight": np.zeros(3, np.float32)})


def test_blocks_take_the_state_dicts_of_blocks():
    seed = ResidualBlock(4, 6, rngs=nnx.Rngs(0))
    state_dict = to_torch(seed)
    assert {"conv1.weight", "bn1.running_var", "conv3.weight", "conv3.bias"} <= state_dict.keys()
    other = ResidualBlock(4, 6, rngs=nnx.Rngs(1))
    load_torch(other, state_dict)
    chex.assert_trees_all_equal(values(other), values(seed))

    basic = BasicBlock(4, 6, stride=2, rngs=nnx.Rngs(0))
    assert {"conv2.weight", "downsample.0.weight", "downsample.1.bias"} <= to_torch(basic).keys()
    with pytest.raises(WeightsError, match=r"BasicBlock.*4 missing: downsample|5 missing: downs"):
        load_torch(basic, state_dict)

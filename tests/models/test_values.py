"""What configs, networks and blocks say to values of another kind, and what they make of them."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import (
    Backbone,
    BasicBlock,
    BatchNorm,
    BatchNormConfig,
    Bottleneck,
    ConfigError,
    ResNet,
    ResNetConfig,
    WeightsError,
    create_model,
    functional,
    grow,
    list_models,
    list_pretrained,
    load,
    model_config,
    save,
    to_torch,
)
from resnet_jax.layers import EvoNormS0, FilterResponseNorm
from resnet_jax.linen import to_linen
from resnet_jax.zoo import describe


def small(**settings):
    return ResNetConfig(**{"depths": (1,), "widths": (8,), "stem": "cifar", **settings})


def test_lists_and_numbers_of_numpy_become_plain(tmp_path):
    given = small(
        depths=np.array([1]),
        widths=[8],
        block=["basic"],
        stem_features=np.int32(8),
        num_classes=np.int64(3),
        drop_path_rate=np.float32(0.5),
        dropout_rate=0,
        zero_init_last=np.True_,
    )
    plain = small(
        block=("basic",),
        stem_features=8,
        num_classes=3,
        drop_path_rate=0.5,
        zero_init_last=True,
    )
    assert given == plain
    assert hash(given) == hash(plain)
    assert json.dumps(dataclasses.asdict(given)) == json.dumps(dataclasses.asdict(plain))
    model = ResNet(given, rngs=nnx.Rngs(0))
    model.reset_classifier(np.int64(5))
    save(model, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").num_classes == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": "10"}, r"num_classes='10' must be a whole number\."),
        ({"num_classes": 10.0}, r"num_classes=10.0 must be a whole number\."),
        ({"num_classes": True}, r"num_classes=True must be a whole number\."),
        ({"depths": 1}, r"depths=1 must be a tuple of whole numbers\."),
        ({"depths": "12"}, r"depths='12' must be a tuple of whole numbers\."),
        ({"widths": (8.0,)}, r"widths=\(8.0,\) must be a tuple of whole numbers\."),
        ({"output_stride": "8"}, r"output_stride='8' must be a whole number, or None\."),
        ({"dropout_rate": "0.5"}, r"dropout_rate='0.5' must be a number\."),
        ({"mid_ratio": True}, r"mid_ratio=True must be a number, or None\."),
        ({"remat": "False"}, r"remat='False' must be True or False\."),
        ({"zero_init_last": 1}, r"zero_init_last=1 must be True or False\."),
        ({"block": 3}, r"block=3 must be a name in quotes or a tuple of names\."),
        ({"stem": None}, r"stem=None must be a name in quotes\."),
        ({"batch_norm": {"momentum": 0.9}}, r"batch_norm={'momentum': 0.9} must be a Batch"),
        ({"groups": 3}, r"groups=3 do not divide the 8 channels inside the blocks of width 8\."),
    ],
)
def test_values_of_another_kind_are_refused(settings, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        small(**settings)


def test_settings_of_batch_norm_are_checked():
    with pytest.raises(ConfigError, match=r"batch_norm.two_pass='no' must be True or False"):
        BatchNormConfig(two_pass="no")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float17"}, "dtype='float17' is not a floating-point dtype"),
        ({"dtype": "bf16"}, "dtype='bf16' is not a floating-point dtype; bfloat16"),
        ({"dtype": jnp.int8}, "dtype=.*int8.* is not a floating-point dtype"),
        ({"param_dtype": "complex64"}, "param_dtype='complex64' is not a floating-point dtype"),
        ({"rngs": 0}, r"rngs has the type int, not an nnx.Rngs; nnx.Rngs takes a seed or a key\."),
        ({"rngs": jax.random.key(0)}, r"rngs has the type PRNGKeyArray, not an nnx.Rngs; .*"),
        ({"pretrained": jax.random.key(0)}, "pretrained=.* must be True, False, a tag or a file"),
        ({"pretrained": 1}, "pretrained=1 must be True, False, a tag or a file"),
    ],
)
def test_arguments_of_create_model_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        create_model("resnet8", **settings)
    assert "\n" not in str(caught.value)


def test_none_gives_random_weights():
    model, other = create_model("resnet8", pretrained=None), create_model("resnet8")
    chex.assert_trees_all_equal(nnx.state(model), nnx.state(other))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: create_model(50), ConfigError, "50 is neither the name of a model nor"),
        (lambda: model_config(None), ConfigError, "None is neither the name of a model nor"),
        (lambda: model_config("resnet50.a1_in1k"), ConfigError, "the model is 'resnet50'"),
        (lambda: describe("resnet50.a1_in1k"), ConfigError, "the model is 'resnet50'"),
        (lambda: ResNet("resnet8", rngs=nnx.Rngs(0)), ConfigError, "create_model and model_config"),
        (lambda: create_model(create_model("resnet8")), ConfigError, "is neither the name"),
        (lambda: Backbone("resnet8"), ConfigError, "create_model takes a name, with features_only"),
        (lambda: functional("resnet8"), TypeError, "give create_model and the name"),
        (lambda: to_linen("resnet8"), TypeError, "give create_model and the name"),
        (lambda: create_model("resnet8", depth=3), ConfigError, r"model_config\(NAME\), depths="),
        (lambda: list_models(True), ConfigError, "True is not a pattern"),
        (lambda: list_pretrained(["resnet*", 5]), ConfigError, "5 is not a pattern"),
        (lambda: create_model("resnet8", pretrained=True), WeightsError, "=PATH loads your own"),
        (lambda: to_torch("resnet8"), WeightsError, "create_model builds by name"),
        (
            lambda: grow(create_model("resnet8"), 20, rngs=nnx.Rngs(0)),
            ConfigError,
            "depths=20 must be a tuple of whole numbers",
        ),
        (lambda: create_model("resnet8").forward_head([]), TypeError, r"features\(images\)\[-1\]"),
    ],
)
def test_what_is_given_instead_gets_a_remedy(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"strides": 2}, r"; did you mean 'stride'\?"),
        ({"feature_group_count": 2}, r"; did you mean 'groups'\?"),
        ({"norm": nnx.BatchNorm}, r"; it is one of the block's parts: parts=Parts\(norm=...\)"),
        ({"width": 2}, ""),
    ],
)
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_blocks_say_where_other_arguments_belong(block, settings, remedy):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '.*'{remedy}$"):
        block(8, 8, rngs=nnx.Rngs(0), **settings)


@pytest.mark.parametrize("norm", [BatchNorm, EvoNormS0, FilterResponseNorm])
def test_norms_refuse_other_features_and_integers(norm):
    layer = norm(32, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"of 32 features got \[2, 4, 4, 1\]; the last axis must"):
        layer(jnp.ones((2, 4, 4, 1)))
    with pytest.raises(ValueError, match=r"got uint8; convert to floating point"):
        layer(jnp.ones((2, 4, 4, 32), jnp.uint8))
    layer.eval()
    with pytest.raises(ValueError, match=r"got int32; convert to floating point"):
        layer(jnp.ones((2, 4, 4, 32), jnp.int32))


def test_groups_divide_the_channels():
    with pytest.raises(ValueError, match="from 3 to 8 channels does not divide into groups=2"):
        BasicBlock(3, 8, groups=2, rngs=nnx.Rngs(0))

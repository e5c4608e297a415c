import dataclasses
import inspect
import re

import chex
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import ConfigError, ResNet, ResNetConfig, create_model, model_config
from resnet_jax.layers import SqueezeExcite
from resnet_jax.zoo import describe, pretrained_info, pretrained_tags, settings, split_name


@pytest.mark.parametrize("name", ["resnet18d", "resnetblur18", "resnetaa34d", "resnetv2_50x1_bit"])
def test_networks_built_alike_share_compiled_code(name):
    """Structures are equal and can be hashed: what `jax.jit` looks its programs up by."""
    config = model_config(name)
    first, second = (
        nnx.graphdef(nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))) for _ in range(2)
    )
    assert first == second
    assert hash(first) == hash(second)


# The CIFAR networks: parameters in millions as their papers give them.
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("resnet32", "0.46"),
        ("resnet110", "1.7"),
        ("resnet1202", "19.4"),
        ("preact_resnet110", "1.7"),
        ("preact_resnet164", "1.7"),
        ("wide_resnet16_8", "11.0"),
        ("wide_resnet28_10", "36.5"),
        ("wide_resnet40_4", "8.9"),
    ],
)
def test_parameters_as_published(name, millions):
    digits = len(millions.partition(".")[2])
    assert f"{describe(name).parameters / 1e6:.{digits}f}" == millions


def test_preact_1001_has_as_many_parameters_as_published():
    # 10.2 million in the paper, 10.3 in other counts.
    assert 10.2e6 <= describe("preact_resnet1001").parameters < 10.4e6


# Multiply-adds: tables 1 and 6 of He et al. 2015, table 1 of Xie et al. 2016.
@pytest.mark.parametrize(
    ("name", "gflops"),
    [("resnet18", 1.8), ("resnet34", 3.6), ("resnet50", 4.1), ("resnet152", 11.5)],
)
def test_work_as_published(name, gflops):
    assert describe(name).gflops == pytest.approx(gflops, abs=0.1)


def test_describe_tells_the_input_size_and_the_paper():
    assert describe("resnet50").size == 224
    assert describe("resnetrs50").size == 160
    assert describe("resnet20").size == 32
    assert describe("resnext50_32x4d").paper == "Xie et al. 2016, arXiv:1611.05431"


def test_pretrained_info():
    usual, other = pretrained_info("resnet50"), pretrained_info("resnet50.tv2_in1k")
    assert usual.tag == pretrained_tags("resnet50")[0] == "a1_in1k"
    assert other.preprocessing.crop_fraction == 0.875
    assert other.hub_id == "timm/resnet50.tv2_in1k"
    assert pretrained_info("resnet200").hub_id is None
    assert pretrained_tags("resnet20") == []
    with pytest.raises(ConfigError, match=r"no weights 'a1_in2k'; .* Did you mean 'a1_in1k'"):
        pretrained_info("resnet50.a1_in2k")
    with pytest.raises(ConfigError, match=r"no weights are known for 'resnet20'"):
        pretrained_info("resnet20")


def test_changes_reach_the_config():
    config = model_config(
        "resnetv2_18",
        num_classes=0,
        in_features=1,
        output_stride=8,
        drop_path_rate=0.1,
        dropout_rate=0.2,
        zero_init_last=True,
        remat=True,
    )
    assert (config.num_classes, config.in_features, config.output_stride) == (0, 1, 8)
    assert (config.drop_path_rate, config.dropout_rate) == (0.1, 0.2)
    assert config.zero_init_last
    assert config.remat
    assert model_config("resnet18", num_classes=None) == model_config("resnet18")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("num_class", "num_classes"),
        ("in_chans", "in_features"),
        ("in_channels", "in_features"),
        ("drop_rate", "dropout_rate"),
        ("drop_path", "drop_path_rate"),
        ("zero_init_residual", "zero_init_last"),
        ("pool", "global_pool"),
        ("grad_checkpointing", "remat"),
        ("checkpoint_path", "pretrained"),
        ("weights", "pretrained"),
        ("features_onli", "features_only"),
        ("seed", "rngs"),
    ],
)
def test_unknown_settings_get_the_nearest(given, meant):
    with pytest.raises(ConfigError, match=rf"no setting '{given}'\. Did you mean '{meant}'"):
        create_model("resnet18", **{given: 3})


@pytest.mark.parametrize(
    ("given", "field"), [("norm", "norm"), ("cardinality", "groups"), ("act_layer", "activation")]
)
def test_fields_of_a_config_are_changed_there(given, field):
    remedy = f"pass dataclasses.replace(model_config(NAME), {field}=...) as the name."
    with pytest.raises(ConfigError, match=rf"no setting '{given}'\. .*{re.escape(remedy)}"):
        create_model("resnet18", **{given: 3})


def test_a_config_is_not_told_of_the_arguments_of_other_functions():
    with pytest.raises(ConfigError, match="no setting 'pretrained'") as error:
        model_config("resnet18", pretrained=True)
    assert "features_only" not in str(error.value)


def test_every_name_of_a_setting_leads_to_a_real_one():
    fields = {field.name for field in dataclasses.fields(ResNetConfig)}
    taken = {*inspect.signature(create_model).parameters, *settings.Changes.__annotations__}
    assert settings._ARGUMENTS.keys() <= taken
    assert settings._FIELDS.keys() <= fields
    every = [other for table in (settings._ARGUMENTS, settings._FIELDS) for other in table.values()]
    names = [name for others in every for name in others]
    assert len(names) == len(set(names))
    assert not {*names} & (fields | taken)


@pytest.mark.parametrize("place", ["", "hf_hub:timm/", "hf-hub:timm/", "HF_hub:timm/", "timm/"])
@pytest.mark.parametrize("tag", ["", "a2_in1k"])
def test_names_with_the_repository(place, tag):
    name = f"{place}resnet18.{tag}" if tag else f"{place}resnet18"
    assert split_name(name) == ("resnet18", tag)
    assert pretrained_info(name) == pretrained_info(name.removeprefix(place))


@pytest.mark.parametrize("name", ["hf_hub:someone/resnet18.a1_in1k", "hf-hub:resnet18"])
def test_repositories_of_others_are_refused(name):
    with pytest.raises(ConfigError, match=r"not one of timm's repositories; .* pretrained=PATH"):
        create_model(name, pretrained=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"norm": "frn_tlu"}, "is an activation as well and does not go with block='basic'"),
        ({"block": ("basic", "preactivation_basic")}, "mixes blocks with and without"),
        ({"block": ("basic",)}, "needs one entry for each of the 2 stages"),
        (
            {"output_stride": 2},
            "output_stride=2 is impossible .*; choose one of 4, 8",
        ),
        ({"first_ratio": 0.5}, "first_ratio=0.5 does not go with block='basic'"),
        ({"stem_pool": "meen"}, "stem_pool='meen' is unknown"),
    ],
)
def test_impossible_combinations_are_one_line(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        ResNetConfig(depths=(1, 1), widths=(8, 16), **settings)
    assert "\n" not in str(error.value)


TINY = ResNetConfig(depths=(1, 2), widths=(32, 64), stem_features=32, num_classes=3)


def test_initialisation_is_deterministic_and_as_declared():
    model, again = (create_model(TINY, rngs=nnx.Rngs(1)) for _ in range(2))
    chex.assert_trees_all_equal(nnx.state(model), nnx.state(again))
    other = create_model(TINY, rngs=nnx.Rngs(2))
    assert (model.stem.conv.kernel[...] != other.stem.conv.kernel[...]).all()

    kernels = {
        "stem": (model.stem.conv.kernel[...], 7 * 7 * 32),
        "stage": (model.stages[1][1].conv2.kernel[...], 3 * 3 * 64),
    }
    for kernel, fan_out in kernels.values():
        scaled = kernel.ravel() * jnp.sqrt(fan_out / 2)
        # Mean and variance of n normal numbers deviate by 1 / sqrt(n) and sqrt(2 / n).
        assert abs(jnp.mean(scaled)) < 4 / jnp.sqrt(scaled.size)
        assert abs(jnp.var(scaled) - 1) < 4 * jnp.sqrt(2 / scaled.size)
    head = model.head.kernel[...].ravel() * jnp.sqrt(64)
    assert jnp.abs(head).max() <= 1.0
    assert jnp.abs(jnp.sort(head) - jnp.linspace(-1, 1, head.size)).max() < 4 / jnp.sqrt(head.size)
    first, second = (block.conv2.kernel[...].ravel() for block in model.stages[1])
    assert abs(jnp.corrcoef(first, second)[0, 1]) < 4 / jnp.sqrt(first.size)


def test_initialisation_without_a_supply_has_the_same_distribution():
    model = ResNet(TINY, rngs=nnx.Rngs(0))
    scaled = model.stages[1][1].conv2.kernel[...] * jnp.sqrt(3 * 3 * 64 / 2)
    assert abs(jnp.var(scaled) - 1) < 4 * jnp.sqrt(2 / scaled.size)
    assert jnp.abs(model.head.kernel[...]).max() <= 1 / 8


@pytest.mark.parametrize(("ratio", "hidden"), [(1 / 16, 8), (1 / 4, 24), (0.3, 32)])
def test_squeeze_excite_rounds_its_hidden_layer_to_eights(ratio, hidden):
    layer = SqueezeExcite(104, ratio=ratio, rngs=nnx.Rngs(0))
    assert layer.fc1.kernel.shape == (104, hidden)

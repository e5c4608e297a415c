"""Files from which a network is rebuilt."""

import dataclasses
import json
import pickle

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import (
    Backbone,
    ResNet,
    ResNetConfig,
    create_model,
    list_models,
    load,
    model_config,
    save,
)
from resnet_jax.weights import WeightsError, load_torch, read_record, to_torch
from resnet_jax.weights.files import read_safetensors, write_safetensors
from resnet_jax.weights.own_files import VERSION
from resnet_jax.weights.own_files.metadata import parse_json
from resnet_jax.zoo import Preprocessing


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save(network(), path)
    return path


def same(one, other):
    """Checks that two modules have the same structure and values."""
    assert nnx.graphdef(one) == nnx.graphdef(other)
    chex.assert_trees_all_equal(*(nnx.to_pure_dict(nnx.state(module)) for module in (one, other)))


def rewrite(file, **metadata):
    """Writes the same arrays with changed metadata."""
    arrays, old = read_safetensors(file)
    write_safetensors(file, arrays, {k: v for k, v in (old | metadata).items() if v is not None})


@pytest.mark.parametrize("param_dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_a_file_alone_rebuilds_the_network(network, param_dtype, tmp_path):
    model = network(param_dtype=param_dtype)
    path = tmp_path / "tiny.safetensors"
    save(model, path)
    rebuilt = load(path)
    assert nnx.graphdef(rebuilt) == nnx.graphdef(model)
    chex.assert_trees_all_equal(
        nnx.to_pure_dict(nnx.state(rebuilt)), nnx.to_pure_dict(nnx.state(model))
    )
    chex.assert_trees_all_equal_dtypes(
        nnx.to_pure_dict(nnx.state(rebuilt)), nnx.to_pure_dict(nnx.state(model))
    )


@pytest.mark.parametrize(
    "settings", [{"global_pool": "catavgmax"}, {"global_pool": "", "num_classes": 0}]
)
def test_the_global_pool_travels_along(network, settings, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save(network(**settings), path)
    assert load(path).config.global_pool == settings["global_pool"]


def test_dtypes_can_be_chosen_at_loading(file):
    model = load(file, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    assert model.head.kernel.dtype == jnp.bfloat16
    assert model.stem.norm.mean.dtype == jnp.float32
    model.eval()
    logits = jax.eval_shape(lambda x: model(x), jnp.zeros((1, 16, 16, 3)))
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize(
    "preprocessing", [Preprocessing(32, 0.875), {"mean": [0.5], "size": 8}, None]
)
def test_preprocessing_and_class_names_travel_along(network, tiny, preprocessing, tmp_path):
    path = tmp_path / "tiny.safetensors"
    names = ("a", "b", "c", "d", "é")
    save(network(), path, preprocessing=preprocessing, class_names=names)
    record = read_record(path)
    assert record.config == tiny
    assert record.class_names == names
    if isinstance(preprocessing, Preprocessing):
        assert Preprocessing(**record.preprocessing).size == 32
    else:
        assert record.preprocessing == preprocessing


def test_every_config_survives_the_file():
    for name in list_models():
        config = model_config(name)
        assert parse_json(ResNetConfig, json.dumps(dataclasses.asdict(config))) == config


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "was not written by resnet_jax.save"),
        ({"format_version": str(VERSION + 1)}, "has format version 2, but this resnet_jax reads"),
        ({"format_version": "x"}, "does not describe its network correctly: invalid literal"),
        ({"config": None}, "does not describe its network correctly: 'config'"),
        ({"config": "{"}, "does not describe its network correctly: .*Invalid JSON"),
        ({"class_names": "3"}, "does not describe its network correctly: .*array"),
    ],
    ids=["other", "newer", "version", "no_config", "no_json", "names"],
)
def test_metadata_that_cannot_be_used_gets_one_line(metadata, message, file):
    rewrite(file, **metadata)
    with pytest.raises(WeightsError, match=message) as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem": "imagenot"}, "stem='imagenot' is unknown"),
        ({"colour": "blue"}, "unknown field 'colour'"),
        ({"batch_norm": {"shift": 1}}, "unknown field 'batch_norm.shift'"),
        ({"depths": [2, 1]}, "does not match its own config.* missing: stages.0.1.conv1.kernel"),
        ({"num_classes": 6}, r"head.bias \[5\] for \[6\]"),
        ({"groups": "many"}, "groups: Input should be a valid integer"),
    ],
    ids=["value", "field", "nested", "missing", "shape", "type"],
)
def test_a_config_that_does_not_fit_gets_one_line(changes, message, tiny, file):
    rewrite(file, config=json.dumps(dataclasses.asdict(tiny) | changes))
    with pytest.raises(WeightsError, match=message) as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_gets_one_line(file):
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(WeightsError, match="is truncated, damaged or in another format"):
        load(file)


def test_what_could_not_be_loaded_is_not_saved(network, file):
    content = file.read_bytes()
    model = network()
    model.head = nnx.Linear(32, 7, rngs=nnx.Rngs(0))
    with pytest.raises(WeightsError, match=r"is not saved: .*head.bias \[7\] for \[5\]"):
        save(model, file)
    with pytest.raises(WeightsError, match="save takes a ResNet or a Backbone, not a Stem"):
        save(model.stem, file)
    with pytest.raises(WeightsError, match="class_names has 2 names for 5 classes"):
        save(network(), file, class_names=["a", "b"])
    assert file.read_bytes() == content


def other_head(model):
    model.head = nnx.Linear(32, 7, rngs=nnx.Rngs(0))


def other_stem(model):
    old = model.stem.conv
    settings = {"strides": old.strides, "use_bias": False, "rngs": nnx.Rngs(0)}
    model.stem.conv = nnx.Conv(4, old.out_features, old.kernel_size, **settings)


def refusal(model, path):
    with pytest.raises(WeightsError) as error:
        save(model, path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_another_head_is_saved_after_the_config_is_told(network, tmp_path):
    model, path = network(), tmp_path / "tiny.safetensors"
    other_head(model)
    remedy = "model.config = dataclasses.replace(model.config, num_classes=7)."
    assert refusal(model, path).endswith(remedy)
    model.config = dataclasses.replace(model.config, num_classes=7)
    save(model, path)
    same(load(path), model)


@pytest.mark.parametrize("classes", [{}, {"num_classes": 7}])
def test_another_stem_is_saved_in_a_network_built_with_it(network, classes, tmp_path):
    model, path = network(), tmp_path / "tiny.safetensors"
    other_stem(model)
    if classes:
        other_head(model)
    words = ", ".join(f"{field}={value}" for field, value in (classes | {"in_features": 4}).items())
    assert f"new = create_model(model.config, {words}), take" in refusal(model, path)
    new = create_model(model.config, in_features=4, **classes)
    nnx.update(new, nnx.state(model))
    save(new, path)
    same(load(path), new)
    chex.assert_trees_all_equal(
        nnx.to_pure_dict(nnx.state(new)), nnx.to_pure_dict(nnx.state(model))
    )


def test_another_stem_of_a_backbone_is_saved_in_one_built_with_it(network, tmp_path):
    model = Backbone(network(), out_indices=(0, 1))
    other_stem(model)
    words = "in_features=4, features_only=True, out_indices=(0, 1)"
    path = tmp_path / "tiny.safetensors"
    assert f"new = create_model(model.config, {words}), take" in refusal(model, path)
    new = create_model(model.config, in_features=4, features_only=True, out_indices=(0, 1))
    nnx.update(new, nnx.state(model))
    save(new, path)
    same(load(path, features_only=True), new)


def stride(model):
    old = model.stages[1][0].conv1
    old.strides = (2, 2)


def another_kind(model):
    old = model.stages[0][0].norm1
    model.stages[0][0].norm1 = nnx.BatchNorm(
        old.scale.shape[0], use_running_average=False, rngs=nnx.Rngs(0)
    )


# What surgery leaves the names and shapes of -> what the refusal says.
SURGERY = {
    "stride": (stride, "stages.1.0.conv1 has strides=(2, 2), not (1, 1)."),
    "activation": (
        lambda model: setattr(model.stages[0][0], "act", jax.nn.gelu),
        "stages.0.0 has act=",
    ),
    "epsilon": (
        lambda model: setattr(model.stem.norm, "epsilon", 1e-3),
        "stem.norm has epsilon=0.001, not 1e-05.",
    ),
    "kind": (another_kind, "stages.0.0.norm1 is a BatchNorm"),
}


@pytest.mark.parametrize("kind", [ResNet, Backbone])
@pytest.mark.parametrize("name", SURGERY)
def test_surgery_that_keeps_the_shapes_is_not_lost(name, kind, network, tmp_path):
    operate, message = SURGERY[name]
    model = network() if kind is ResNet else Backbone(network())
    operate(model)
    text = refusal(model, tmp_path / "tiny.safetensors")
    assert message in text
    assert text.endswith("pickle.dump(model, FILE) keeps a network that no config describes.")


def test_modes_and_notes_are_no_surgery(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    model = network(param_dtype=jnp.bfloat16, drop_path_rate=0.1)
    model.stem.eval()
    model.note = "mine"
    save(model, path)
    model.eval()
    model.set_remat()
    save(model, path)
    assert load(path).config.remat


@pytest.mark.parametrize("kind", [ResNet, Backbone])
def test_what_no_config_describes_is_pickled(network, kind, tmp_path):
    model = network() if kind is ResNet else Backbone(network())
    model.stem.conv = nnx.Conv(3, 16, (3, 3), rngs=nnx.Rngs(0))  # has a bias
    with pytest.raises(WeightsError, match=r"pickle\.dump\(model, FILE\) keeps"):
        save(model, tmp_path / "tiny.safetensors")
    same(pickle.loads(pickle.dumps(model)), model)


@pytest.mark.parametrize("out_indices", [(0,), (1, 2)])
def test_a_backbone_is_saved(network, out_indices, tmp_path):
    backbone = Backbone(network(), out_indices=out_indices)
    path = tmp_path / "tiny.safetensors"
    save(backbone, path, preprocessing={"size": 8})
    rebuilt = load(path, features_only=True)
    assert isinstance(rebuilt, Backbone)
    assert rebuilt.out_indices == out_indices
    same(rebuilt, backbone)
    assert read_record(path).out_indices == out_indices
    with pytest.raises(WeightsError, match=r"holds a backbone, .*features_only=True"):
        load(path)
    with pytest.raises(WeightsError, match="class_names has 5 names for 0 classes"):
        save(backbone, path, class_names="abcde")


def test_a_saved_backbone_does_not_fill_a_network(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    backbone = Backbone(network())
    save(backbone, path)
    for features_only in (False, True):
        with pytest.raises(
            WeightsError, match=r"load\(FILE, features_only=True\) returns the"
        ) as it:
            create_model(backbone.config, pretrained=path, features_only=features_only)
        assert str(it.value).endswith(
            "resnet_jax.load(FILE, features_only=True) returns the backbone."
        )
    same(load(path, features_only=True), backbone)


def test_the_backbone_of_a_saved_network(network, file):
    same(load(file, features_only=True), Backbone(load(file)))


def test_other_files_say_who_reads_them(network, file, tmp_path):
    with pytest.raises(WeightsError, match=r"read it with resnet_jax\.load"):
        load_torch(network(), file)
    other = tmp_path / "timm.safetensors"
    write_safetensors(other, to_torch(network()), {"format": "pt"})
    with pytest.raises(WeightsError, match="load_torch"):
        load(other)
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "nothing.safetensors")

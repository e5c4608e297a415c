"""Networks with trained weights: from the hub's cache and from files; conversion of files."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import ConfigError, create_model, functional, load, model_config, save
from resnet_jax.interop.trees import TreeLayout
from resnet_jax.weights import (
    WeightsError,
    convert_file,
    load_pretrained,
    load_torch,
    read_record,
    to_torch,
)
from resnet_jax.weights.files import read_safetensors, write_safetensors

NAME, TAG = "test_resnet", "r160_in1k"


def values(module):
    return nnx.to_pure_dict(nnx.state(module))


@pytest.fixture
def trained(network):
    return network(model_config(NAME))


@pytest.fixture
def published(publish, trained):
    publish(f"{NAME}.{TAG}", to_torch(trained))


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        (NAME, True),
        (NAME, TAG),
        (f"{NAME}.{TAG}", True),
        (f"{NAME}.{TAG}", TAG),
        (f"hf_hub:timm/{NAME}.{TAG}", True),
        (f"hf-hub:timm/{NAME}", TAG),
    ],
)
def test_published_weights_come_from_the_cache_without_a_network(
    name, pretrained, published, trained
):
    model = create_model(name, pretrained=pretrained)
    assert model.config == trained.config
    chex.assert_trees_all_equal(values(model), values(trained))


def test_other_classes_and_channels_adapt_published_weights(published, trained):
    model = create_model(NAME, pretrained=True, num_classes=7, in_features=1, drop_path_rate=0.1)
    assert model.head.kernel.shape[-1] == 7
    chex.assert_trees_all_equal(values(model)["stages"], values(trained)["stages"])
    kernels = [np.asarray(one.stem.conv1.kernel) for one in (model, trained)]
    np.testing.assert_allclose(kernels[0], kernels[1].sum(2, keepdims=True), rtol=1e-6)
    assert model.config.drop_path_rate == 0.1
    headless = create_model(NAME, pretrained=True, num_classes=0)
    assert not any("head" in path for path, _ in nnx.to_flat_state(nnx.state(headless)))


def test_a_pretrained_backbone_returns_the_maps_of_the_network(published, trained):
    backbone = create_model(NAME, pretrained=True, features_only=True, out_indices=(1, -1))
    trained.eval()
    backbone.eval()
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 32, 32, 3)), jnp.float32)
    expected = jax.jit(lambda x: trained.features(x))(x)
    maps = jax.jit(lambda x: backbone(x))(x)
    chex.assert_trees_all_close(maps, [expected[1], expected[-1]], rtol=1e-5)


@pytest.mark.parametrize("features_only", [False, True])
def test_published_cifar_weights_give_a_network_without_a_classifier(features_only, shared_data):
    file = shared_data / "data" / "cifar_resnet_weights" / "resnet20-12fca82f.th"
    model = create_model("resnet20", pretrained=file, num_classes=0, features_only=features_only)
    expected = values(create_model("resnet20", pretrained=file))
    assert expected.pop("head")["kernel"].shape == (64, 10)
    chex.assert_trees_all_equal(values(model), expected)


@pytest.mark.parametrize(
    ("name", "pretrained", "error", "message"),
    [
        (
            "resnet50",
            True,
            WeightsError,
            "hub cannot be reached: .* pass its path as pretrained=PATH, or",
        ),
        ("resnet50", "a9_in1k", ConfigError, "'resnet50' has no weights 'a9_in1k'; there are"),
        ("resnet5", True, ConfigError, "there is no model 'resnet5'. Did you mean"),
        (
            "resnet20",
            True,
            WeightsError,
            "no weights are published for 'resnet20'; pretrained=PATH",
        ),
        ("resnet50t", True, WeightsError, "no weights are published for 'resnet50t'"),
        ("resnet50.a1_in1k", False, ConfigError, "names weights: pass pretrained=True"),
        ("resnet50.a1_in1k", "a2_in1k", ConfigError, "name different weights"),
        ("resnet50", "nothing.pth", WeightsError, "nothing.pth does not exist"),
        ("resnet50", "model_best.pth.tar", WeightsError, "model_best.pth.tar does not exist"),
        ("resnet50", "some/where", WeightsError, "some/where does not exist"),
    ],
)
def test_weights_that_cannot_be_had_get_one_line(name, pretrained, error, message):
    with pytest.raises(error, match=message) as caught:
        create_model(name, pretrained=pretrained)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model_best.pth.tar", "last.ckpt", "weights", "v1.0"])
def test_a_file_needs_no_slash_and_no_suffix(name, network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = network(model_config(NAME), num_classes=3)
    write_safetensors("a.safetensors", to_torch(model), {})
    (tmp_path / "a.safetensors").rename(name)
    chex.assert_trees_all_equal(values(create_model(NAME, pretrained=name)), values(model))


def test_a_file_that_is_called_like_a_tag_is_not_guessed(tmp_path, monkeypatch, published):
    monkeypatch.chdir(tmp_path)
    (tmp_path / TAG).touch()
    with pytest.raises(ConfigError, match=rf"'\./{TAG}' for the file, or pass '{NAME}\.{TAG}'"):
        create_model(NAME, pretrained=TAG)
    create_model(f"{NAME}.{TAG}", pretrained=True)
    with pytest.raises(WeightsError, match="is empty"):
        create_model(NAME, pretrained=f"./{TAG}")


def test_a_config_needs_a_file(tiny):
    with pytest.raises(ConfigError, match="pass a file"):
        create_model(tiny, pretrained=True)
    with pytest.raises(ConfigError, match="needs features_only=True"):
        create_model(tiny, out_indices=(1,))


def test_a_local_file_says_how_many_classes_and_channels(network, tiny, tmp_path):
    model = network(num_classes=3, in_features=2)
    file = tmp_path / "timm.safetensors"
    write_safetensors(file, to_torch(model), {})
    for source in (file, str(file)):
        rebuilt = create_model(tiny, pretrained=source)
        chex.assert_trees_all_equal(values(rebuilt), values(model))
    whole = tmp_path / "own.safetensors"
    save(model, whole)
    chex.assert_trees_all_equal(values(create_model(tiny, pretrained=whole)), values(model))


@pytest.fixture(params=["own", "torch"])
def file(request, trained, tmp_path):
    """A file of ours or of PyTorch."""
    path = tmp_path / "network.safetensors"
    if request.param == "own":
        save(trained, path)
    else:
        write_safetensors(path, to_torch(trained), {"format": "pt"})
    return path


def test_a_file_fills_a_network_inside_of_a_trace(file, trained):
    def build():
        return create_model(NAME, pretrained=file)

    chex.assert_trees_all_equal(values(build()), values(trained))
    chex.assert_trees_all_equal(values(nnx.jit(build)()), values(trained))
    abstract = values(nnx.eval_shape(build))
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, values(trained))
    init, _ = functional(create_model, NAME, pretrained=file)
    params, batch_stats = jax.jit(init)(jax.random.key(0))
    for tree, kind in ((params, nnx.Param), (batch_stats, nnx.BatchStat)):
        layout = TreeLayout.of("tree", nnx.state(trained, kind))
        chex.assert_trees_all_equal(tree, layout.to_names(nnx.state(trained, kind)))
    chex.assert_trees_all_equal(params, init(jax.random.key(1))[0])


def test_a_new_classifier_is_the_one_without_weights(file):
    rngs = [nnx.Rngs(3), nnx.Rngs(3)]
    model = create_model(NAME, pretrained=file, num_classes=7, rngs=rngs[0])
    untrained = create_model(NAME, num_classes=7, rngs=rngs[1])
    chex.assert_trees_all_equal(values(model)["head"], values(untrained)["head"])


def test_nothing_is_drawn_for_a_network_in_a_file(file, monkeypatch):
    drawn = []
    monkeypatch.setattr("resnet_jax.models.initialize._draw", lambda *_: drawn.append(1))
    create_model(NAME, pretrained=file)
    assert not drawn


def test_a_file_of_another_network_with_the_same_weights_is_refused(network, tmp_path):
    file = tmp_path / "own.safetensors"
    save(network(model_config("resnet18"), num_classes=2), file)
    with pytest.raises(
        WeightsError, match=r"holds another network: its (antialiasing|stem_pool) is"
    ):
        load_pretrained("resnetblur18", file)


def test_conversion_there_and_back(network, trained, tmp_path):
    own, timm, back = (tmp_path / f"{name}.safetensors" for name in ("own", "timm", "back"))
    save(trained, own)
    convert_file(own, timm)
    arrays, metadata = read_safetensors(timm)
    assert metadata == {"format": "pt"}
    assert {key: value.shape for key, value in arrays.items()} == {
        key: value.shape for key, value in to_torch(trained).items()
    }
    convert_file(timm, back, name=f"{NAME}.{TAG}", class_names=[str(i) for i in range(1000)])
    chex.assert_trees_all_equal(values(load(back)), values(trained))
    record = read_record(back)
    assert record.preprocessing["size"] == 160
    assert record.class_names[999] == "999"
    target = network(model_config(NAME), seed=1)
    load_torch(target, timm)
    chex.assert_trees_all_equal(values(target), values(trained))


def test_conversion_asks_for_the_name_where_it_is_needed(network, tmp_path):
    own, timm = tmp_path / "own.safetensors", tmp_path / "timm.safetensors"
    save(network(), own)
    convert_file(own, timm)
    with pytest.raises(WeightsError, match="do not say which network they belong to: give"):
        convert_file(timm, own)
    with pytest.raises(WeightsError, match="already names its network; leave 'resnet18' out"):
        convert_file(own, timm, name="resnet18")
    with pytest.raises(WeightsError, match="does not fit ResNet"):
        convert_file(timm, own, name="resnet50")

import dataclasses

import chex
import jax
import jax.numpy as jnp
import pytest
import safetensors.numpy
from flax import nnx

from resnet_jax.errors import ConfigError
from resnet_jax.inference.export import export
from resnet_jax.inference.imagenet import imagenet_names
from resnet_jax.inference.preprocess import preprocessing
from resnet_jax.inference.trained import Trained, open_trained
from resnet_jax.models import ResNetConfig
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.config import DataConfig, EmaConfig, ModelConfig, TrainConfig
from resnet_jax.training.recipe.overrides import to_json
from resnet_jax.training.step.state import TrainState, Variables
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.claim import claim
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.weights import WeightsError, convert_file, create_model, save, to_torch
from resnet_jax.weights.files import write_safetensors
from resnet_jax.zoo import model_config


def equal(model, other):
    chex.assert_trees_all_equal(*(jax.tree.leaves(nnx.state(one)) for one in (model, other)))


@pytest.fixture
def resnet20(build):
    return build(model_config("resnet20"))


@pytest.fixture
def run(tmp_path, build):
    """A run with the live variables of seed 0 and the averages of seed 1, at the steps 5 and 9."""

    def run(inputs=None, **changes):
        config = TrainConfig(
            model=ModelConfig(name="resnet20", in_features=1, num_classes=10),
            data=DataConfig(name="digits"),
            ema=EmaConfig(),
        )
        config = dataclasses.replace(config, **changes)
        files = Workdir(tmp_path / "run")
        if inputs is not None:
            claim(files, config, inputs)
        else:  # as an older version left it
            files.root.mkdir()
            files.config.write_text(to_json(config))
        both = []
        for seed in (0, 1):
            model = build(model_config("resnet20", in_features=1), seed=seed)
            params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
            both.append(Variables(params, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))))
        live, average = both
        zero = jnp.int32(0)
        state = TrainState(zero, zero, zero, live.params, live.batch_stats, (zero,), average)
        with Checkpoints(files.checkpoints, config.checkpoint) as checkpoints:
            for step in (5, 9):
                checkpoints.save(step, state, {})
        return files.root

    return run


def test_a_run_gives_its_averages_and_what_it_recorded_of_its_data(run, build):
    digits = NetworkInputs(
        size=8, mean=(0.5,), std=(0.5,), channels=1, class_names=tuple("0123456789")
    )
    trained = open_trained(run(digits, data=DataConfig(name="folder:gone")))
    equal(trained.model, build(model_config("resnet20", in_features=1), seed=1))
    assert trained.step == 9
    assert trained.inputs == digits
    assert trained.remarks == ()


def test_a_run_of_an_older_version_says_what_it_lacks(run, build):
    root = run(ema=None, data=DataConfig(name="folder:gone", channels=1))
    trained = open_trained(root, step=5)
    equal(trained.model, build(model_config("resnet20", in_features=1), seed=0))
    assert (trained.step, trained.class_names, trained.inputs.size) == (5, None, None)
    assert trained.class_name(3) == "class 3"
    (remark,) = trained.remarks
    assert "no record of its class names and image size" in remark


def test_our_files_say_everything(resnet20, tmp_path):
    inputs = NetworkInputs(size=40, crop_fraction=0.9, mean=(0.1,), std=(0.2,))
    names = [f"kind {number}" for number in range(10)]
    save(resnet20, tmp_path / "net.safetensors", preprocessing=inputs, class_names=names)
    for trained in (
        open_trained(tmp_path / "net.safetensors"),
        open_trained("resnet20", weights=tmp_path / "net.safetensors"),
    ):
        equal(trained.model, resnet20)
        assert trained.inputs == inputs.named(names)


@pytest.mark.parametrize("multi_label", [False, True])
def test_weights_for_pytorch_carry_the_record(resnet20, tmp_path, multi_label):
    names = tuple(f"kind {number}" for number in range(10))
    inputs = NetworkInputs(size=40, mean=(0.1,), std=(0.2,), multi_label=multi_label)
    known = Trained(resnet20, inputs.named(names), origin="resnet20")
    exported, own, again = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    export(known, exported)
    convert_file(exported, own, name="resnet20.a1_in1k")  # the file knows better than the tag
    convert_file(own, again)
    for file in (exported, own, again):
        trained = open_trained("resnet20", weights=file)
        equal(trained.model, resnet20)
        assert trained.inputs == known.inputs
        prepare = preprocessing(create_model("resnet20", pretrained=file))
        assert (prepare.inputs, prepare.origin) == (known.inputs, f"recorded in {file}")
    assert preprocessing(exported).inputs == known.inputs


def test_a_damaged_record_for_pytorch_names_its_file(resnet20, tmp_path):
    file = tmp_path / "net.safetensors"
    write_safetensors(file, to_torch(resnet20), {"resnet_jax.preprocessing": '{"size": 8.5}'})
    with pytest.raises(ConfigError, match=r"net.safetensors: size=8.5: give a whole number"):
        open_trained("resnet20", weights=file)


def test_weights_of_pytorch_need_a_name(resnet20, tmp_path):
    file = tmp_path / "torch.safetensors"
    safetensors.numpy.save_file(to_torch(resnet20), file)
    trained = open_trained("resnet20", weights=file)
    equal(trained.model, resnet20)
    assert trained.inputs == NetworkInputs(size=32)
    with pytest.raises(ConfigError, match="does not say which network it holds"):
        open_trained(file)
    with pytest.raises(WeightsError, match="does not fit"):
        open_trained("resnet32", weights=file)


def test_class_names_can_be_given(resnet20, tmp_path):
    save(resnet20, tmp_path / "net.safetensors")
    names = [f"kind {number}" for number in range(10)]
    trained = open_trained(tmp_path / "net.safetensors", class_names=names)
    assert trained.class_index("kind 7") == trained.class_index("7") == 7
    with pytest.raises(ConfigError, match=r"no class 'kind 71'. Did you mean"):
        trained.class_index("kind 71")
    with pytest.raises(ConfigError, match="3 class names for the 10 outputs"):
        open_trained(tmp_path / "net.safetensors", class_names=names[:3])


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            "resnet21",
            {},
            r"'resnet21' is neither the folder of a run nor a file nor a network. Did you mean",
        ),
        ("empty", {}, "no run in workdir"),
        ("hub", {}, "no run in workdir hub: it holds weights, model.safetensors; give the name"),
        ("file.txt", {}, "file.txt of 4 bytes cannot be read as weights"),
        ("net.onnx", {}, "net.onnx is an ONNX model, which cannot be read back"),
        ("resnet20", {"weights": "net.onnx"}, "net.onnx is an ONNX model, which"),
        ("resnet20", {"weights": "gone.pth"}, "gone.pth does not exist"),
        ("resnet20", {"step": 3}, "only runs have steps"),
        ("empty", {"weights": "x.pth"}, "go with the name of a network"),
        ("resnet20", {}, "resnet20"),
        ("resnet50.a9_in1k", {}, "no weights 'a9_in1k'"),
    ],
)
def test_what_cannot_be_opened_is_reported_in_one_line(
    model, options, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "config.json").write_text('{"architecture": "resnet18"}')
    (tmp_path / "hub" / "model.safetensors").touch()
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08\x12")
    with pytest.raises(ValueError, match=message) as caught:
        open_trained(model, **options)
    assert "\n" not in str(caught.value)


def test_records_that_do_not_fit_name_their_file(resnet20, tmp_path):
    save(resnet20, tmp_path / "net.safetensors", preprocessing={"sise": 3})
    with pytest.raises(ConfigError, match=r"net.safetensors: preprocessing has no field 'sise'"):
        open_trained(tmp_path / "net.safetensors")


def test_a_network_without_a_classifier_is_refused(build, tmp_path):
    config = ResNetConfig(depths=(1,), widths=(8,), stem="cifar", stem_features=8, num_classes=0)
    save(build(config), tmp_path / "net.safetensors")
    with pytest.raises(ConfigError, match="has no classifier"):
        open_trained(tmp_path / "net.safetensors")


def test_imagenet_names_are_those_of_its_classes_in_their_order():
    names = imagenet_names()
    assert len(set(names)) == len(names) == 1000
    known = {0: "tench", 134: "crane (bird)", 207: "golden retriever", 517: "crane (machine)"}
    assert {index: names[index] for index in known} == known
    assert (names[638], names[639]) == ("maillot", "maillot, tank suit")
    assert names[-1] == "toilet tissue"


def test_published_weights_for_imagenet_know_their_classes(build, tmp_path):
    file = tmp_path / "torch.safetensors"
    safetensors.numpy.save_file(to_torch(build(model_config("test_resnet"))), file)
    trained = open_trained("test_resnet.r160_in1k", weights=file)
    assert trained.class_name(207) == "golden retriever"
    assert trained.inputs.size == 160
    # A file of weights on its own says nothing about classes.
    assert open_trained("test_resnet", weights=file).class_names is None

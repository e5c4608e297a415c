"""Addresses with a scheme are refused wherever a path is taken, before anything is written."""

import pathlib

import pytest
from flax import nnx

from resnet_jax import ResidualBlock, cli, create_model, load, load_torch, save
from resnet_jax.data.config import DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path, user_path
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import FinetuneConfig, TrainConfig


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("az://box/a b", "az://box/a b: addresses that start with az:// cannot be read"),
        ("https://host/net.pth", "https://host/net.pth: addresses"),
        ("hdfs://host/run", "hdfs://host/run: addresses"),
        ("memory://run", "memory://run: addresses"),
        (pathlib.Path("az://box/run"), "az://box/run: addresses"),
        ("file:///home/run", "file:///home/run: write the path of a local file, /home/run"),
    ],
)
@pytest.mark.parametrize("read", [user_path, local_path])
def test_an_address_is_refused(read, given, message):
    with pytest.raises(ConfigError) as caught:
        read(given)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["runs/a", "/a/b:c/d", "c:/run", "a:b", "~$1.png", "a//b"])
def test_a_path_stays_as_it_is(name):
    assert user_path(name) == local_path(name) == pathlib.Path(name)


def test_the_home_folder_is_filled_in(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert local_path("~/runs") == pathlib.Path("/home/someone/runs")


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--workdir={}"],
        ["train", "--config={}.py"],
        ["train", "--config.data.name=folder:{}"],
        ["train", "--config.data.name=zip:{}"],
        ["train", "--config.data.data_dir={}"],
        ["train", "--config.finetune.weights={}.pth"],
        ["eval", "--workdir={}"],
        ["eval", "--model={}"],
        ["eval", "--model=resnet20", "--weights={}.pth", "--data=digits"],
        ["eval", "--model=net.safetensors", "--data=folder:{}"],
        ["eval", "--model=net.safetensors", "--data=digits", "--data-dir={}"],
        ["predict", "x.png", "--model={}"],
        ["predict", "x.png", "--model=net.safetensors", "--class-names={}"],
        ["explain", "x.png", "--model=net.safetensors", "--out={}"],
        ["export", "net.safetensors", "{}.onnx"],
        ["convert", "{}.pth", "out.safetensors"],
        ["convert", "net.safetensors", "{}.safetensors"],
        ["prepare", "folder:{}"],
        ["prepare", "folder:photos", "--data-dir={}"],
        ["prepare", "digits", "--data-dir={}"],
        ["report", "{}"],
        ["report", "photos", "--out={}.html"],
        ["serve", "{}", "--port=0"],
        ["study", "--out={}"],
        ["study", "--budget=hours", "--data=zip:{}"],
    ],
    ids=" ".join,
)
def test_every_command_refuses_an_address_and_writes_nothing(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    tiny = ResNetConfig(depths=(1,), widths=(8,), stem="cifar", stem_features=8, num_classes=3)
    save(ResNet(tiny, rngs=nnx.Rngs(0)), "net.safetensors")
    with pytest.raises(SystemExit) as caught:
        cli.main([word.format("az://box/it") for word in words])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert "az://box/it" in err
    assert "addresses that start with az:// cannot be read or written" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.safetensors", "photos"]


def test_predict_reports_an_address_as_a_file_that_cannot_be_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = ResNetConfig(depths=(1,), widths=(8,), stem="cifar", stem_features=8, num_classes=3)
    save(ResNet(tiny, rngs=nnx.Rngs(0)), "net.safetensors")
    with pytest.raises(SystemExit) as caught:
        cli.main(["predict", "https://host/cat.png", "--model=net.safetensors"])
    assert caught.value.code == 1
    assert "addresses that start with https:// cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "call",
    [
        lambda address: train(TrainConfig(), address),
        lambda address: DataConfig(data_dir=address),
        lambda address: FinetuneConfig(weights=f"{address}/net.pth"),
        lambda address: load(f"{address}/net.safetensors"),
        lambda address: load_torch(ResidualBlock(1, 1, rngs=nnx.Rngs(0)), f"{address}/net.pth"),
        lambda address: create_model("resnet20", pretrained=f"{address}/net.pth"),
    ],
)
def test_the_library_refuses_an_address(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="az://box/it"):
        call("az://box/it")
    assert list(tmp_path.iterdir()) == []

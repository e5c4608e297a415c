import io
import json
import logging
import os
import shutil
import sys

import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from PIL import Image

from resnet_jax import cli
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.weights import save, to_torch

NAMES = ("blue", "green", "red")
SCREEN = (80, 24)


def call(*words):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    return caught.value.code


@pytest.fixture
def net(tmp_path):
    """The file of a small network of three classes that was never trained."""
    config = ResNetConfig(depths=(1,), widths=(8,), stem="cifar", stem_features=8, num_classes=3)
    model = ResNet(config, rngs=nnx.Rngs(0))
    path = tmp_path / "net.safetensors"
    save(model, path, preprocessing=NetworkInputs(size=8), class_names=NAMES)
    return path


@pytest.fixture
def photos(tmp_path):
    """A set with a few photos of each class in train and test."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 1), ("test", 3)):
        for name in NAMES:
            for number in range(count):
                path = tmp_path / "set" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return tmp_path / "set"


@pytest.mark.parametrize("name", ["", *(command.name for command in cli.COMMANDS)])
def test_every_help_fits_a_screen_and_has_an_example(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(SCREEN[0]))
    assert call(*filter(None, [name]), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN[1]
    assert max(map(len, lines)) <= SCREEN[0]
    assert lines[-1].startswith("example: resnet-jax")


def test_eval_prints_a_summary_or_json(net, photos, capsys):
    words = (f"--model={net}", f"--data=folder:{photos}", "--batch-size=4")
    assert call("eval", *words) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("test accuracy ")
    assert first.endswith(" counted 9 of 9 images)")
    assert rest[-1] == f"model {net}; data folder:{photos}"
    assert call("eval", *words, "--json", "--tta=flip", "--split=train") == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["count"], values["expected"], values["tta"]) == (3, 3, "flip")
    assert [entry["name"] for entry in values["classes"]] == list(NAMES)
    confusion = np.array(values["confusion"])  # a row for each class
    assert confusion.sum(1).tolist() == [entry["count"] for entry in values["classes"]]
    assert confusion.diagonal().tolist() == [entry["top1"] for entry in values["classes"]]


def test_eval_counts_what_it_leaves_out(net, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (photos / "test" / "red" / "1.png").write_text("no photo")
    words = (f"--model={net}", f"--data=folder:{photos}")
    assert call("eval", *words) == 2
    assert "no image of a known format" in capsys.readouterr().err
    assert call("eval", *words, "--skip-bad") == 0
    assert "counted 8 of 9 images" in capsys.readouterr().out


def test_predict_goes_on_after_a_bad_file(net, photos, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no photo")
    good = str(photos / "test" / "blue")
    assert call("predict", str(tmp_path / "text.jpg"), good, f"--model={net}", "--json") == 1
    out, err = capsys.readouterr()
    assert err == f"error: {tmp_path / 'text.jpg'}: the file is no image of a known format\n"
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["file"][-6:] for record in records] == ["/0.png", "/1.png", "/2.png"]
    assert sum(entry["probability"] for entry in records[0]["predictions"]) == pytest.approx(1)


def test_names_that_are_not_utf_8_are_escaped(net, photos, tmp_path, capfd):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        shutil.copy(photos / "test" / "red" / "0.png", odd)
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    name = os.fsdecode(odd)
    assert call("predict", name, f"--model={net}", "--json") == 0
    line = capfd.readouterr().out
    assert line.isascii()
    assert os.fsencode(json.loads(line)["file"]) == odd
    assert call("predict", name, f"--model={net}", "--top=1") == 0
    assert capfd.readouterr().out.splitlines()[0] == f"{tmp_path}/caf\\udce9.png"


def test_predict_reads_names_from_the_standard_input(net, photos, monkeypatch, capsys):
    files = sorted(map(str, photos.glob("test/*/0.png")))
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n".join(files) + "\n"))
    assert call("predict", "-", f"--model={net}", "--top=1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == files
    assert all(line.split()[1] in NAMES for line in lines[1::2])


def test_explain_writes_an_overlay_for_each_image(net, photos, tmp_path, capsys):
    images = [str(photos / "test" / name / "0.png") for name in ("blue", "red")]
    words = (f"--model={net}", f"--out={tmp_path / 'cams'}", "--class=green", "--stage=0")
    assert call("explain", *images, *words) == 0
    assert "green" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "cams").iterdir())
    assert names == ["0-2.cam.png", "0.cam.png"]
    with Image.open(tmp_path / "cams" / "0.cam.png") as image:
        assert (image.size, image.format) == ((224, 224), "PNG")
    assert call("explain", images[0], "no.png", *words) == 1
    assert "error: no.png: no such file or directory" in capsys.readouterr().err


def test_export_and_convert_write_files(net, tmp_path, capsys):
    out = tmp_path / "out.stablehlo"
    assert call("export", str(net), str(out), "--fold", "--from-pixels") == 0
    assert f"described in {out}.json" in capsys.readouterr().out
    assert out.stat().st_size > 1000
    torch_file = tmp_path / "torch.safetensors"
    assert call("convert", str(net), str(torch_file)) == 0
    assert "fc.weight" in safetensors.numpy.load_file(torch_file)


def test_convert_makes_a_file_that_needs_no_name(build_resnet20, tmp_path, capsys):
    torch_file, ours = tmp_path / "torch.safetensors", tmp_path / "ours.safetensors"
    safetensors.numpy.save_file(to_torch(build_resnet20), torch_file)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"kind {number}" for number in range(10)) + "\n\n")
    words = ("--name=resnet20", f"--class-names={names}")
    assert call("convert", str(torch_file), str(ours), *words) == 0
    capsys.readouterr()
    photo = tmp_path / "grey.png"
    Image.new("RGB", (40, 30), "grey").save(photo)
    assert call("predict", str(photo), f"--model={ours}", "--top=1") == 0
    assert "kind " in capsys.readouterr().out


def test_commands_say_which_weights_of_a_checkpoint_they_read(
    build_resnet20, photos, tmp_path, torch, capsys
):
    weights = {key: torch.from_numpy(value) for key, value in to_torch(build_resnet20).items()}
    file, ours = tmp_path / "last.pth", tmp_path / "ours.safetensors"
    torch.save({"state_dict": weights, "state_dict_ema": weights}, file)
    note = f"note: {file}: read the entry 'state_dict_ema' (moving averages), not 'state_dict'\n"
    names = tmp_path / "names.txt"
    names.write_text("\n".join((*NAMES, *"abcdefg")))
    named = ("--model=resnet20", f"--weights={file}", f"--class-names={names}")
    for words in (
        ("convert", str(file), str(ours), "--name=resnet20"),
        ("eval", *named, f"--data=folder:{photos}", "--json"),
        ("predict", str(photos / "test" / "red" / "0.png"), *named, "--json"),
    ):
        assert call(*words) == 0
        out, err = capsys.readouterr()
        assert err == note
        assert "note" not in out
    assert logging.getLogger("resnet_jax").handlers == []


@pytest.fixture
def build_resnet20():
    from resnet_jax import model_config

    model = nnx.eval_shape(lambda: ResNet(model_config("resnet20"), rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    for _, leaf in nnx.to_flat_state(nnx.state(model)):
        leaf.set_value(rng.uniform(0.01, 0.1, leaf.get_value().shape).astype(np.float32))
    return model


def test_models_are_listed_with_what_they_cost(capsys):
    assert call("models", "resnet2?") == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "parameters", "GFLOPs", "input", "paper"]
    assert any(row.split()[:2] == ["resnet20", "269,722"] for row in rows)
    assert call("models", "resnet20", "--json") == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 269_722


def test_prepare_makes_a_set(photos, tmp_path, capsys):
    words = (f"folder:{photos}", "--name=paints", f"--data-dir={tmp_path / 'sets'}")
    assert call("prepare", *words, "--shard=1/1") == 0
    assert call("prepare", *words) == 0
    assert "is ready" in capsys.readouterr().out
    assert call("prepare", *words) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("eval", ("--model={net}", "--data=folder:{photos}")),
        ("prepare", ("folder:{photos}", "--data-dir={sets}")),
    ],
)
def test_what_is_left_out_is_said_once_apart_from_the_result(
    command, words, net, photos, tmp_path, capsys
):
    (photos / "test" / "labels.txt").write_text("red")
    places = {"net": net, "photos": photos, "sets": tmp_path / "sets"}
    of_a_library = logging.StreamHandler()  # Orbax calls logging.basicConfig, which adds one
    logging.getLogger().addHandler(of_a_library)
    try:
        assert call(command, *(word.format(**places) for word in words)) == 0
    finally:
        logging.getLogger().removeHandler(of_a_library)
    captured = capsys.readouterr()
    note = "note: left out 1 file that is not an image by its name: test/labels.txt"
    assert captured.err.splitlines() == [note]
    assert "left out" not in captured.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "--model=resnet20", "--weights=no.pth", "--data=digits"], "no.pth does not"),
        (["eval", "--model={net}"], "comes without a dataset"),
        (["eval", "--model={net}", "--data=digitz"], "'digitz'"),
        (["eval", "--model={net}", "--data=folder:set", "--batch-size=0"], "batch_size=0: give 1"),
        (["eval", "--model={net}", "--data=digits"], "has no class '0', '1'"),
        (["eval", "--model={net}", "--config.epochs=3"], "the model is not a run"),
        (["eval", "--model={net}", "--tta=crop"], "argument --tta: invalid choice: 'crop'"),
        (["eval", "--modl=x"], "unknown argument '--modl=x'. Did you mean '--model=x'"),
        (["eval", "--bath-size", "3"], "Did you mean '--batch-size=3'?"),
        (["eval", "--model=resnet50", "--data=digits"], "pass its path as --weights=PATH, or"),
        (["predict", "x.png", "--model=resnet50"], "pass its path as --weights=PATH, or"),
        (["models", "--foo"], "unknown argument '--foo'. resnet-jax models --help lists"),
        (["predict", "x.png", "--model=resnet21"], "'resnet21' is neither the folder of a run"),
        (["predict", "x.png", "--model={net}", "--top=0"], "top=0"),
        (["predict", "x.png", "--model={net}", "--batch-size=0"], "batch_size=0"),
        (["predict", "x.png", "--model={net}", "--config.seed=1"], "Fields are --inputs.FIELD"),
        (["predict", "x.png", "--model={net}", "--inputs.sise=1"], "no field 'sise'"),
        (["predict", "x.png", "--model={net}", "--inputs.size"], "write --inputs.size=VALUE"),
        (["predict", "x.png", "--inputs.size", "64"], "write --inputs.size=64"),
        (["fields", "lr"], "no field matches 'lr'. Did you mean 'optimizer.learning_rate'?"),
        (["predict", "x.png", "--model={net}", "--inputs.mean=128"], "divide pixel values"),
        (["predict", "x.png", "--model={net}", "--inputs.channels=1"], "network takes 3 channels"),
        (["predict", "x.png", "--model={net}", "--class-names=no.txt"], "no.txt"),
        (["predict", "x.png", "--model={net}", "--class-names={net}"], "is not UTF-8 text"),
        (["predict"], "the following arguments are required: IMAGE"),
        (["explain", "x.png", "--model={net}", "--stage=7"], "stage=7: the network has"),
        (["explain", "x.png", "--model={net}", "--class=violet"], "no class 'violet'"),
        (["export", "{net}", "out.pb"], "name it *.stablehlo"),
        (["export", "{net}", "no/out.stablehlo"], "No such file or directory"),
        (["models", "resnet"], "no network matches 'resnet'"),
        (["convert", "no.pth", "out.safetensors"], "no.pth does not exist"),
        (["prepare", "folder:no"], "no"),
    ],
)
def test_an_error_that_the_user_can_fix_is_one_line_and_status_2(
    words, message, net, photos, monkeypatch, capsys
):
    monkeypatch.chdir(net.parent)
    assert call(*(word.format(net=net) for word in words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err

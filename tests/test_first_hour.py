"""The four commands of docs/first_hour.md; those that read images are run on each layout."""

import io
import json
import pathlib
import re
import shlex
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.serving.conftest import Process

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "first_hour.md").read_text()

# A small network without published weights, on small images, so that a CPU is through in a minute.
SMALL = [
    *("--config.epochs=2", "--config.eval_batch_size=8"),
    *("--config.data.image_size=16", "--config.data.workers=0", "--config.model.dtype=float32"),
]
NAMES = ("even", "odd")


@pytest.fixture(scope="module")
def images():
    """Forty digits as PNG with their classes: even and odd in turn."""
    digits = load_digits()
    chosen = [np.flatnonzero(digits.target % 2 == place % 2)[place // 2] for place in range(40)]
    files = []
    for place, index in enumerate(chosen):
        buffer = io.BytesIO()
        pixels = Image.fromarray((digits.images[index] * 15).astype(np.uint8)).resize((20, 20))
        pixels.convert("RGB").save(buffer, "PNG")
        files.append((NAMES[place % 2], buffer.getvalue()))
    return files


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of compiled code that the layouts share."""
    return tmp_path_factory.mktemp("cache")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def in_folders(root, images, splits):
    """Writes `ROOT/SPLIT/CLASS/FILE`: the last eight images for each further split."""
    rest = list(enumerate(images))
    for split in splits[:0:-1]:
        for place, (kind, content) in rest[-8:]:
            write(root / split / kind / f"{place}.png", content)
        rest = rest[:-8]
    for place, (kind, content) in rest:
        write(root / splits[0] / kind / f"{place}.png", content)


def photos(folder, images):
    in_folders(folder, images, ("photos",))


def pets(folder, images):
    in_folders(folder / "pets", images, ("train", "val"))


def roboflow(folder, images):
    in_folders(folder / "roboflow", images, ("train", "valid", "test"))
    for name in ("README.dataset.txt", "README.roboflow.txt"):
        write(folder / "roboflow" / name, "A dataset.")


def multi(folder, images):
    rows = ["filename, even, odd, digit"]
    for place, (kind, content) in enumerate(images):
        write(folder / "multi" / "train" / f"{place}.png", content)
        rows.append(f"{place}.png, {int(kind == 'even')}, {int(kind == 'odd')}, 1")
    write(folder / "multi" / "train" / "_classes.csv", "\n".join(rows))


def kaggle(folder, images):
    rows = ["id,breed"]
    for place, (kind, content) in enumerate(images):
        write(folder / "kaggle" / "train" / f"{place:04}.png", content)
        write(folder / "kaggle" / "test" / f"{place + 1000:04}.png", content)
        rows.append(f"{place:04},{kind}")
    write(folder / "kaggle" / "train.csv", "\n".join(rows))
    write(folder / "kaggle" / "sample_submission.csv", "id,even,odd\n1000,0.5,0.5")


def archive(folder, images):
    in_folders(folder / "archive", images, ("seg_train/seg_train", "seg_test/seg_test"))
    write(folder / "archive" / "seg_pred" / "seg_pred" / "7.png", images[0][1])


def imagefolder(folder, images):
    for split, part in (("train", images[:32]), ("test", images[32:])):
        rows = ["file_name,label"]
        for place, (kind, content) in enumerate(part):
            write(folder / "imagefolder" / split / f"{place}.png", content)
            rows.append(f"{place}.png,{kind}")
        write(folder / "imagefolder" / split / "metadata.csv", "\n".join(rows))


def saved(folder, images):
    datasets = pytest.importorskip("datasets", reason="could not import datasets: the extra hf")
    kinds = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))}
    )
    splits = {}
    for split, part in (
        ("train", images[:24]),
        ("validation", images[24:32]),
        ("test", images[32:]),
    ):
        rows = [
            {"image": {"bytes": content, "path": None}, "label": NAMES.index(kind)}
            for kind, content in part
        ]
        splits[split] = datasets.Dataset.from_list(rows, features=kinds)
    datasets.DatasetDict(splits).save_to_disk(folder / "saved")


def commands(recipe="finetune"):
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    # The folder of a run is named after its recipe.
    block = block.replace("runs/finetune", f"runs/{recipe.replace(':', '_')}")
    return [shlex.split(line.replace("=finetune ", f"={recipe} ")) for line in block.splitlines()]


def run(words, folder):
    assert words[0] == "resnet-jax"
    program = [sys.executable, "-c", "from resnet_jax.cli import main; main()", *words[1:]]
    result = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_page_has_four_commands_and_a_row_for_each_layout():
    assert [words[1] for words in commands()] == ["train", "eval", "predict", "serve"]
    named = {source for row in LAYOUTS.values() for source in row[:1]}
    assert named <= set(re.findall(r"`((?:folder|csv|hf):[\w/.]+)`", PAGE))


# The name of the data, and the split on which the run reports.
LAYOUTS = {
    photos: ("folder:photos", "test"),
    pets: ("folder:pets", "validation"),
    roboflow: ("folder:roboflow", "test"),
    multi: ("csv:multi/train/_classes.csv", "test"),
    kaggle: ("csv:kaggle/train.csv", "test"),
    archive: ("folder:archive", "test"),
    imagefolder: ("hf:imagefolder", "test"),
    saved: ("hf:saved", "test"),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_four_commands_lead_from_images_to_a_service(layout, images, cache, tmp_path, monkeypatch):
    source, split = LAYOUTS[layout]
    if source.startswith("hf:"):
        pytest.importorskip("datasets", reason="could not import datasets: the extra hf")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    layout(tmp_path, images)
    train, evaluate, predict, serve = commands("finetune:resnet8")
    train[3] = f"--config.data.name={source}"
    out = run([*train, *SMALL], tmp_path)
    classes = ["digit", *NAMES] if layout is multi else list(NAMES)
    assert re.search(r"batch_size is (16|32), not 64, which is more than there are training", out)
    quality = "mean average precision" if layout is multi else "accuracy"
    assert f"{len(classes)} classes" in " ".join(out.split())
    assert re.search(rf"{split} {quality} \S+%.*counted \d+ of \d+ images\)", out)
    place = source.partition(":")[2].partition("/")[0]
    predict[2] = str(next(path for path in sorted((tmp_path / place).rglob("*")) if path.is_dir()))
    if source != "hf:saved":
        assert all(name in run(predict, tmp_path) for name in classes)
    if layout not in (photos, multi):  # from here on, the run alone is read
        return
    assert re.search(rf"{split} {quality} \S+%.*counted", run(evaluate, tmp_path))
    service = Process(*serve[2:], "--port=0", cwd=tmp_path)
    try:
        service.wait_until_it_listens()
        address = f"http://127.0.0.1:{service.port}/predict"
        with urllib.request.urlopen(address, data=images[0][1], timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    finally:
        service.end()
    assert sorted(entry["class"] for entry in predictions) == classes
    total = sum(entry["probability"] for entry in predictions)
    assert layout is multi or total == pytest.approx(1, abs=1e-4)

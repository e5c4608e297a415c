"""The list of what happens to an image: `describe_changes`, and the steps that it is read from."""

import pathlib
import re

import numpy as np
import pytest

from resnet_jax import cli
from resnet_jax.data.changes import describe_changes
from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.transforms import train_steps
from resnet_jax.data.on_device.augment import augment_changes
from resnet_jax.data.on_device.mixing import describe_mix

ROOT = pathlib.Path(__file__).resolve().parents[2]


def first_words(lines):
    return [line.split()[0].rstrip(":") for line in lines]


def test_the_list_names_every_step_in_order():
    data = DataConfig(image_size=32)
    augment = AugmentConfig(
        policy="randaugment", pad_crop=2, flip=0.5, rotate=5.0, erase=0.1, mixup=0.2
    )
    lists = describe_changes(data, augment, channels=3)
    assert [first_words(lines) for lines in lists.values()] == [
        ["decode", "crop", "crop", "flip", "policy"],
        ["move", "normalize", "erase", "mix"],
        ["decode", "crop"],
        ["normalize"],
    ]


def test_without_a_policy_crop_and_flip_are_done_on_the_device():
    lists = describe_changes(DataConfig(), AugmentConfig(pad_crop=4, flip=0.5), channels=1)
    assert lists["training, on the host"] == ["decode to greyscale, upright"]
    assert first_words(lists["training, on the device"]) == ["crop", "flip", "normalize"]


def test_the_lines_are_those_of_the_steps_that_are_executed():
    data, augment = DataConfig(), AugmentConfig(policy="trivialaugment", pad_crop=2, erase=0.5)
    lists = describe_changes(data, augment, channels=1)
    steps = train_steps(data, augment, channels=1)
    image = np.arange(192, dtype=np.uint8).reshape(8, 24, 1)
    expected, rng = (
        steps.first(Record(image, 0), np.random.default_rng(3)),
        np.random.default_rng(3),
    )
    for step in steps.rest:
        expected = step(expected, rng)
    np.testing.assert_array_equal(steps(Record(image, 0), np.random.default_rng(3)), expected)
    assert lists["training, on the host"] == steps.describe()
    on_device = [change.line for change in augment_changes(augment)]
    on_device += describe_mix(augment)
    assert [line for line in lists["training, on the device"] if line in on_device] == on_device


def test_the_page_quotes_what_the_command_prints(monkeypatch, tmp_path, capsys):
    (quoted,) = re.findall(r"```text\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--show", "--config=configs/imagenet_rsb.py:a1"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"\n{quoted}")
    assert "  epochs=600 batch_size=2048 " in printed
    assert " optimizer.learning_rate=0.005 " in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_resizing_on_the_device_is_shown_where_it_happens(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--show", "--config=configs/imagenet_fast.py"])
    first = capsys.readouterr().out.split("training, on the device:\n")[1].splitlines()[0]
    assert first.startswith("  resize to 160 x 160 pixels, growing")

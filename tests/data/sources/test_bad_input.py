"""Every kind of input that cannot be used, through the functions that a run calls."""

import gc
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.bounds import MAX_BYTES
from resnet_jax.data.loading.pipeline import eval_loader, train_loader
from resnet_jax.data.sources import load_split
from resnet_jax.errors import ConfigError

SIZE = 40


def jpeg():
    noise = np.random.default_rng(0).integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def wide_png():
    buffer = io.BytesIO()
    Image.new("1", (3000, 3000)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg_of_many_scans():
    buffer = io.BytesIO()
    Image.new("L", (SIZE, SIZE)).save(buffer, "JPEG", progressive=True)
    image = buffer.getvalue()
    start, end = image.rindex(b"\xff\xda"), image.rindex(b"\xff\xd9")
    return image[:end] + image[start:end] * 1000 + image[end:]


def damage(path, kind):
    """Puts something that cannot be used in the place of a photo."""
    contents = {
        "truncated": lambda: jpeg()[:1000],
        "header only": lambda: jpeg()[:30],
        "empty": lambda: b"",
        "no image": lambda: b"%PDF-1.4 no photo at all",
        "bomb": wide_png,
        "scans": jpeg_of_many_scans,
    }
    path.unlink()
    if kind == "unreadable":
        path.symlink_to("nowhere.jpg")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "enormous":
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
    else:
        path.write_bytes(contents[kind]())


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes, ten photos each."""
    for name in ("aster", "rose"):
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "set" / "train" / name / f"{number}.jpg").write_bytes(jpeg())
    return tmp_path / "set"


def open_train(folder, **fields):
    config = DataConfig(name=f"folder:{folder}", image_size=16, max_pixels=10**6, **fields)
    return load_split(config, "train", workdir=folder.parent)


def shared_arrays():
    return sum(type(thing).__name__ == "SharedMemoryArray" for thing in gc.get_objects())


def listed(folder):
    lines = (folder.parent / "bad_examples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


REASONS = {
    "truncated": "the file is damaged",
    "header only": "the file is no image|the file is damaged",
    "empty": "the file is empty",
    "no image": "the file is no image of a known format",
    "bomb": "the image is too large: 3000 x 3000 pixels, and data.max_pixels=1000000",
    "scans": "the JPEG has more than 500 scans over 1600 pixels, the limit; save it again",
    "unreadable": "the file cannot be read: No such file",
    "pipe": "it is no regular file",
    "enormous": f"the file has {MAX_BYTES + 1} bytes, the limit is {MAX_BYTES}",
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("loader", [train_loader, eval_loader])
def test_a_file_that_cannot_be_used_stops_the_run(photos, kind, loader):
    damage(photos / "train" / "rose" / "7.jpg", kind)
    options = {"seed": 0} if loader is train_loader else {}
    message = f"set/train/rose/7.jpg: ({REASONS[kind]}).*; fix or remove it, or set data.on_error"
    with pytest.raises(ConfigError, match=message) as error:
        next(iter(loader(open_train(photos), batch_size=20, **options)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", REASONS)
def test_or_is_skipped_counted_and_listed(photos, kind):
    damage(photos / "train" / "rose" / "7.jpg", kind)
    source = open_train(photos, on_error="skip")
    with train_loader(source, batch_size=20, seed=0) as batches:
        for _ in range(3):
            assert next(batches)["mask"].all()
    counted = sum(int(batch["mask"].sum()) for batch in eval_loader(source, batch_size=8))
    assert counted == 19
    (line,) = listed(photos)
    assert line["name"].endswith("set/train/rose/7.jpg")


def test_only_as_many_are_skipped_as_the_recipe_says(photos):
    for number in range(4):
        damage(photos / "train" / "rose" / f"{number}.jpg", "empty")
    source = open_train(photos, on_error="skip", max_bad_examples=3)
    message = "the file is empty; it would be example 4 to be skipped and data.max_bad_examples=3"
    with pytest.raises(ConfigError, match=message):
        list(eval_loader(source, batch_size=20))
    assert len(listed(photos)) == 3


def test_where_nothing_can_be_used_the_run_stops(photos):
    for path in photos.glob("train/*/*"):
        damage(path, "empty")
    source = open_train(photos, on_error="skip")
    with (
        train_loader(source, batch_size=4, seed=0) as batches,
        pytest.raises(ConfigError, match="the split has no example that can be read"),
    ):
        next(batches)
    with pytest.raises(ConfigError, match="the split has no example that can be read"):
        list(eval_loader(source, batch_size=4))


def test_a_set_shorter_than_a_batch_is_refused(photos):
    with pytest.raises(ConfigError, match="batch_size=21 does not fit a training split of 20"):
        train_loader(open_train(photos), batch_size=21, seed=0)


@pytest.mark.slow
def test_workers_count_a_bad_example_once(photos):
    damage(photos / "train" / "rose" / "7.jpg", "empty")
    damage(photos / "train" / "aster" / "2.jpg", "no image")
    source = open_train(photos, on_error="skip")
    with train_loader(source, batch_size=10, seed=0, workers=2) as batches:
        seen = [next(batches) for _ in range(12)]
    with train_loader(source, batch_size=10, seed=0) as plain:
        for batch in seen:
            np.testing.assert_array_equal(next(plain)["image"], batch["image"])
    assert sorted(line["name"][-11:] for line in listed(photos)) == ["/rose/7.jpg", "aster/2.jpg"]
    held = shared_arrays()
    counted = sum(
        int(batch["mask"].sum()) for batch in eval_loader(source, batch_size=8, workers=2)
    )
    assert counted == 18
    assert len(listed(photos)) == 2
    assert shared_arrays() == held  # else Python says at its end that memory has leaked


@pytest.mark.slow
def test_a_worker_that_stops_says_why(photos):
    damage(photos / "train" / "rose" / "7.jpg", "empty")
    with (
        train_loader(open_train(photos), batch_size=20, seed=0, workers=1) as batches,
        pytest.raises(ConfigError, match=r"rose/7.jpg: the file is empty; fix or remove it"),
    ):
        next(batches)


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_a_message(photos):
    with train_loader(open_train(photos), batch_size=4, seed=0, workers=2) as batches:
        next(batches)
        others = multiprocessing.active_children()
        assert len(others) == 2
        os.kill(others[0].pid, signal.SIGKILL)
        start = time.monotonic()
        message = r"a data worker ended before its time, at step \d+, .* set data.workers below 2"
        with pytest.raises(ChildProcessError, match=message):
            list(batches)
    assert time.monotonic() - start < 30
    assert not multiprocessing.active_children()


KILLED_RUN = """
import multiprocessing, os, signal, sys
from resnet_jax.data.loading.pipeline import train_loader
from resnet_jax.data.sources import open_split
from resnet_jax.data.images.resize import RandomResizedCrop

source = open_split("folder:" + sys.argv[1], "train")
batches = train_loader(source, batch_size=4, seed=0, workers=1, transform=RandomResizedCrop(16))
next(batches)
os.kill(multiprocessing.active_children()[0].pid, signal.SIGINT)
for _ in range(6):
    next(batches)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_workers_ignore_the_keyboard_and_end_with_a_killed_run(photos):
    # Returns once nobody holds its pipes any more, the worker neither.
    command = [sys.executable, "-c", KILLED_RUN, str(photos)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == -signal.SIGKILL
    assert "Traceback" not in result.stderr

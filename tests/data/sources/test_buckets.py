"""Datasets in buckets against the same ones on this machine, with real servers."""

import io
import logging
import pickle
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from resnet_jax.buckets import AccessError
from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.loading.pipeline import train_loader
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.data.sources import load_split, open_split
from resnet_jax.data.sources.files import FileCache
from resnet_jax.data.sources.files import bucket as bucket_files
from resnet_jax.errors import ConfigError

NAMES = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(10)]


@pytest.fixture
def files(tmp_path):
    """Images in a folder, in an archive beside it, and in a table."""
    folder = tmp_path / "pets"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (number, 0, 0)).save(folder / name)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in NAMES:
            archive.write(folder / name, name)
    lines = [f"{name},{name.partition('/')[0]}\n" for name in NAMES]
    (folder / "labels.csv").write_text("".join(["file,label\n", *lines]))
    return tmp_path


@pytest.fixture
def stored(files, bucket):
    """Copies the files into a bucket."""
    for file in filter(lambda path: path.is_file(), files.rglob("*")):
        (bucket / file.relative_to(files)).upload(file)
    return bucket


FORMS = ["folder:{}/pets", "zip:{}/pets.zip", "csv:{}/pets/labels.csv"]


@pytest.mark.parametrize("form", FORMS)
def test_a_bucket_holds_what_a_folder_holds(files, stored, proxy, form, tmp_path):
    config = DataConfig(name=form.format(stored), cache_dir=str(tmp_path / "cache"))
    with proxy.counting() as requests:
        source = load_split(config, "train")
    assert requests.total() <= 6
    local = open_split(form.format(files), "train")
    assert source.class_names == local.class_names == ("cat", "dog")
    with proxy.counting() as requests:
        source.expect(range(len(source)))
        for mine, other in zip(source, local, strict=True):
            np.testing.assert_array_equal(mine["image"], other["image"])
            assert mine["label"] == other["label"]
    assert requests.total() == len(source)  # one an image
    again = pickle.loads(pickle.dumps(load_split(config, "train")))
    with proxy.counting() as requests:
        assert [example["label"] for example in again] == [example["label"] for example in local]
    assert requests.total() == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folder(files, stored, tmp_path, workers):
    config = DataConfig(name=f"zip:{stored}/pets.zip", cache_dir=str(tmp_path / "cache"))
    sources = [load_split(config, "train"), open_split(f"folder:{files}/pets", "train")]
    loaders = [
        train_loader(source, batch_size=5, seed=0, workers=count)
        for source, count in zip(sources, (workers, 0), strict=True)
    ]
    with loaders[0] as mine, loaders[1] as others:
        for _ in range(6):
            got, want = next(mine), next(others)
            np.testing.assert_array_equal(got["image"], want["image"])
            np.testing.assert_array_equal(got["label"], want["label"])


def test_what_is_written_again_is_read_again(stored, tmp_path):
    name, cache = f"folder:{stored}/pets", FileCache(tmp_path / "cache")
    assert open_split(name, "train", cache=cache)[0]["image"].shape == (7, 9, 3)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    for path in NAMES:
        (stored / "pets" / path).write_bytes(buffer.getvalue())
    assert open_split(name, "train", cache=cache)[0]["image"].shape == (4, 4, 3)


def test_what_was_removed_is_a_bad_image(stored, tmp_path):
    source = open_split(f"folder:{stored}/pets", "train", cache=FileCache(tmp_path / "cache"))
    for path in NAMES:
        (stored / "pets" / path).unlink()
    with pytest.raises(BadImageError, match=r"cat/\d.png: the object was removed"):
        source[0]


def test_refused_credentials_are_no_bad_image(stored, proxy, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket_files, "ACCESS_PATIENCE", 0)
    config = DataConfig(
        name=f"zip:{stored}/pets.zip", on_error="skip", cache_dir=str(tmp_path / "cache")
    )
    source = load_split(config, "train", workdir=tmp_path)
    proxy.refuse = lambda headers: True
    with pytest.raises(AccessError, match="refused or expired"):
        source.read(0)


@pytest.mark.parametrize("form", FORMS)
def test_a_run_waits_for_credentials_that_expired(
    stored, proxy, form, tmp_path, caplog, monkeypatch
):
    source = load_split(
        DataConfig(name=form.format(stored), cache_dir=str(tmp_path / "cache")), "train"
    )
    first, second = source[0], source[1]
    again = load_split(
        DataConfig(name=form.format(stored), cache_dir=str(tmp_path / "other")), "train"
    )
    np.testing.assert_array_equal(again[0]["image"], first["image"])
    proxy.refuse = lambda headers: True
    back = threading.Timer(1, lambda: setattr(proxy, "refuse", lambda headers: False))
    back.start()
    np.testing.assert_array_equal(again[1]["image"], second["image"])
    assert caplog.text.count("waiting for them") == 1
    monkeypatch.setattr(bucket_files, "ACCESS_PATIENCE", 0)
    proxy.refuse = lambda headers: True
    with pytest.raises(AccessError):
        again[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:{}/none", "there is no such folder"),
        ("folder:{}/pets.zip", "write zip:"),
        ("zip:{}/none.zip", "does not exist"),
        ("zip:{}/pets/labels.csv", "the archive cannot be read"),
        ("csv:{}/pets", "it is a folder"),
    ],
)
def test_what_is_not_there_is_named(stored, name, message):
    with pytest.raises(ConfigError, match=message):
        open_split(name.format(stored), "train")


@pytest.fixture
def user_cache(tmp_path, monkeypatch):
    """A cache that no other test has filled."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "resnet_jax"


@pytest.mark.parametrize("source", ["folder:{}/pets", "zip:{}/pets.zip"])
def test_a_dataset_is_prepared_in_a_bucket_and_read_there(
    files, stored, source, user_cache, proxy, tmp_path, caplog
):
    folder = prepare(source.format(stored), data_dir=f"{stored}/tfds")
    assert str(folder) == f"{stored}/tfds/pets/1.0.0"
    assert not list((user_cache / "uploads").iterdir())
    config = DataConfig(name="pets", data_dir=f"{stored}/tfds", cache_dir=str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO):
        read = load_split(config, "train")
    assert " files (0.1 MB) of" in caplog.text
    local = open_split(f"folder:{files}/pets", "train")
    reds = [sorted(int(example["image"][0, 0, 0]) for example in one) for one in (read, local)]
    assert reds[0] == reds[1]
    with proxy.counting() as requests:
        load_split(config, "train")
    assert requests.total() <= 2  # a list
    with pytest.raises(ConfigError, match="exists already"):
        prepare(source.format(stored), data_dir=f"{stored}/tfds")
    with pytest.raises(ConfigError, match=r"raise data\.cache_gigabytes"):
        load_split(
            DataConfig(
                name="pets",
                data_dir=f"{stored}/tfds",
                cache_dir=str(tmp_path / "other"),
                cache_gigabytes=1e-6,
            ),
            "train",
        )


def test_parts_of_a_dataset_need_a_folder(stored):
    with pytest.raises(ConfigError, match="have to share a folder"):
        prepare(f"folder:{stored}/pets", data_dir=f"{stored}/tfds", shard="1/2")

import json
import pickle

import numpy as np
import pytest

from resnet_jax.data.config import DataConfig
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.data.source_names import SOURCES, SourceKind
from resnet_jax.data.sources import InMemorySource, Source, load_split, open_split
from resnet_jax.errors import ConfigError


def test_a_source_gives_pixels_and_labels(digits_dir, digits):
    source = open_split("digits", "train", data_dir=digits_dir)
    assert len(list(source)) == len(source) == 1293
    for index in (0, 1292):
        example = source[index]
        np.testing.assert_array_equal(example["image"], digits[index]["image"])
        assert example["label"] == digits[index]["label"]
        assert isinstance(example["label"], int)
        assert example["image"].dtype == np.uint8
    with pytest.raises(IndexError, match="1293"):
        source[1293]


def test_a_source_can_be_pickled(digits_dir):
    source = open_split("digits", "train", data_dir=digits_dir)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[5]["image"], source[5]["image"])


def test_a_small_set_is_kept_in_memory_unless_the_recipe_says_no(digits_dir):
    config = DataConfig(data_dir=str(digits_dir))
    assert isinstance(load_split(config, "test"), InMemorySource)
    streamed = load_split(DataConfig(data_dir=str(digits_dir), in_memory=False), "test")
    assert not isinstance(streamed, InMemorySource)


def test_any_set_prepared_as_array_record_can_be_read(digits_dir, tmp_path):
    (tmp_path / "pencils").mkdir()
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        (tmp_path / "pencils" / version).symlink_to(digits_dir / "digits" / "1.0.0")
    newest = open_split("pencils", "test", data_dir=tmp_path)
    assert newest.name(0).startswith("pencils test")
    assert newest._directory.name == "1.10.0"
    assert open_split("pencils:1.9.0", "test", data_dir=tmp_path)._directory.name == "1.9.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cifar10",
            "data.name='cifar10' is not prepared in .* pip install 'resnet-jax\\[prepare\\]' && "
            "resnet-jax prepare cifar10 --data-dir=",
        ),
        ("cifr10", "data.name='cifr10' is not a dataset.* Did you mean 'cifar10'"),
        ("digit", "data.name='digit' is not a dataset.* Did you mean 'digits'"),
    ],
)
def test_a_missing_set_is_named_with_the_remedy(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message) as error:
        open_split(name, "train", data_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_a_path_without_its_prefix_is_recognised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "train.csv").touch()
    for name, prefix in (("photos", "folder"), ("photos/train.csv", "csv")):
        with pytest.raises(ConfigError, match=f"of this name, write {prefix}:{name}"):
            open_split(name, "train", data_dir=tmp_path / "sets")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("tset", "split 'tset': .* has no split 'tset'. Did you mean 'test'"),
        ("train[:x%]", r"split 'train\[:x%\]' cannot be read: .* write it as"),
    ],
)
def test_a_wrong_split_is_named(digits_dir, split, message):
    with pytest.raises(ConfigError, match=message) as error:
        open_split("digits", split, data_dir=digits_dir)
    assert "\n" not in str(error.value)


def test_a_set_without_random_access_is_refused(digits_dir, tmp_path):
    folder = tmp_path / "old" / "1.0.0"
    folder.mkdir(parents=True)
    for path in (digits_dir / "digits" / "1.0.0").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ConfigError, match=r"prepared as tfrecord.*resnet-jax prepare old"):
        open_split("old", "train", data_dir=tmp_path)


def test_images_of_several_sizes_are_not_kept_in_memory(digits):
    class Uneven(InMemorySource):
        def record(self, index):
            record = super().record(index)
            return record._replace(image=record.image[: 8 - index % 2])

        in_memory = Source.in_memory

    with pytest.raises(ValueError, match=r"example 1 has the shape \(7, 8, 1\)"):
        Uneven(digits.images, digits.labels, digits.class_names).in_memory()


def open_made_up(name, split, *, channels, bad_examples):
    assert (name, split, channels, bad_examples) == ("made:up", "train[:1]", 3, None)
    return InMemorySource(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int32), ("a",))


def test_a_row_of_the_table_is_all_that_a_new_source_needs(monkeypatch):
    monkeypatch.setitem(SOURCES, "made", SourceKind("NAME", f"{__name__}:open_made_up"))
    config = DataConfig(name="made:up", channels=3)
    assert len(load_split(config, "train[:1]")) == 1
    with pytest.raises(ConfigError, match=r"data.name='made:' names nothing; write made:NAME"):
        DataConfig(name="made:")
    with pytest.raises(ConfigError, match="made:up needs no preparation"):
        prepare("made:up")

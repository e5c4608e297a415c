import builtins
import gc
import pickle

import numpy as np
import pytest

from resnet_jax.data.config import DataConfig
from resnet_jax.data.sources import load_split, open_split
from resnet_jax.errors import ConfigError


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    module = pytest.importorskip("datasets", reason="could not import datasets: the extra hf")
    monkeypatch.setattr(module.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(module.config, "HF_HUB_OFFLINE", True)
    return module


@pytest.fixture
def table(datasets, png):
    """Makes a table whose red channel is the row's place."""

    def make(first, count, labels=("cat", "dog"), names=True):
        kinds = {"image": datasets.Image()}
        values = [place % len(labels) for place in range(count)]
        if names:
            kinds["label"] = datasets.ClassLabel(names=list(labels))
        else:
            kinds["label"] = datasets.Value("string")
            values = [labels[value] for value in values]
        images = [{"bytes": png(first + place), "path": None} for place in range(count)]
        columns = {"image": images, "label": values, "caption": ["x"] * count}
        kinds["caption"] = datasets.Value("string")
        return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))

    return make


def reds(source):
    return [int(example["image"][0, 0, 0]) for example in source]


def test_labels_are_those_of_their_own_split(datasets, table, tmp_path):
    splits = {"train": table(0, 4), "test": table(100, 4, ("dog", "cat")), "odd": table(9, 2, "xy")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "pets")
    name = f"hf:{tmp_path / 'pets'}"
    test = open_split(name, "test")
    assert (test.class_names, [example["label"] for example in test]) == (
        ("dog", "cat"),
        [0, 1, 0, 1],
    )
    both = open_split(name, "train+test")
    assert both.class_names == ("cat", "dog")
    assert [example["label"] for example in both] == [0, 1, 0, 1, 1, 0, 1, 0]
    with pytest.raises(ConfigError, match="odd has 'x', which train lacks"):
        open_split(name, "train+odd")


def test_a_set_saved_to_disk_is_read(datasets, table, tmp_path):
    splits = {"train": table(0, 10), "val": table(100, 4), "test": table(200, 6)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "pets")
    name = f"hf:{tmp_path / 'pets'}"
    train = open_split(name, "train")
    assert train.class_names == ("cat", "dog")
    assert reds(train) == list(range(10))
    assert [example["label"] for example in train] == [0, 1] * 5
    assert reds(open_split(name, "train+validation")) == [*range(10), 100, 101, 102, 103]
    assert train[3]["image"].shape == (4, 5, 3)
    assert open_split(name, "test", channels=1)[0]["image"].shape == (4, 5, 1)
    copy = pickle.loads(pickle.dumps(train))
    np.testing.assert_array_equal(copy[7]["image"], train[7]["image"])
    with pytest.raises(ConfigError, match=r"has no split 'tset'. Did you mean 'test'"):
        open_split(name, "tset")


def test_a_part_of_a_split_stored_class_by_class_is_a_sample_of_it(datasets, table, tmp_path):
    rows = table(0, 60)
    rows.select([*range(0, 60, 2), *range(1, 60, 2)]).save_to_disk(tmp_path / "pets")
    name = f"hf:{tmp_path / 'pets'}"
    first, rest = open_split(name, "train[:80%]"), open_split(name, "train[80%:]")
    assert sorted(reds(first) + reds(rest)) == list(range(60))
    assert {example["label"] for example in rest} == {0, 1}
    assert reds(open_split(name, "train[80%:]")) == reds(rest)


def test_a_folder_of_parquet_is_read(table, tmp_path):
    (tmp_path / "pets").mkdir()
    table(0, 6, names=False).to_parquet(tmp_path / "pets" / "train-00000-of-00001.parquet")
    table(50, 3, names=False).to_parquet(tmp_path / "pets" / "test-00000-of-00001.parquet")
    source = open_split(f"hf:{tmp_path / 'pets'}", "test")
    assert source.class_names == ("cat", "dog")
    assert reds(source) == [50, 51, 52]
    assert [example["label"] for example in source] == [0, 1, 0]


# The library leaves the table open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_folder_with_a_table_of_labels_is_read(datasets, png, tmp_path):
    (tmp_path / "pets" / "train").mkdir(parents=True)
    for red in range(6):
        (tmp_path / "pets" / "train" / f"{red}.png").write_bytes(png(red))
    rows = [f"{red}.png,{('cat', 'dog')[red % 2]}" for red in range(6)]
    table = "\n".join(["file_name,label", *rows])
    (tmp_path / "pets" / "train" / "metadata.csv").write_text(table)
    source = open_split(f"hf:{tmp_path / 'pets'}", "train")
    assert source.class_names == ("cat", "dog")
    assert all(example["label"] == example["image"][0, 0, 0] % 2 for example in source)
    gc.collect()  # while the warning is ignored


def test_a_bad_image_is_named_or_skipped(datasets, table, tmp_path):
    rows = table(0, 4)
    bad = rows.cast_column("image", datasets.Image(decode=False)).to_list()
    bad[2]["image"]["bytes"] = b"no photo"
    bad[3]["image"] = None
    datasets.Dataset.from_list(bad, features=rows.features).save_to_disk(tmp_path / "pets")
    name = f"hf:{tmp_path / 'pets'}"
    with pytest.raises(ConfigError, match="pets train, example 2: the file is no image"):
        list(open_split(name, "train"))
    source = load_split(DataConfig(name=name, on_error="skip"), "train", workdir=tmp_path)
    assert [source.read(index) is None for index in range(4)] == [False, False, True, True]
    lines = (tmp_path / "bad_examples.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert "the image is missing" in lines[1]


def test_a_set_that_does_not_fit_is_named(datasets, tmp_path):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "texts")
    with pytest.raises(ConfigError, match="has 0 image and 0 label columns among text; only"):
        open_split(f"hf:{tmp_path / 'texts'}", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigError, match=r"cannot be opened: .* give the name of a dataset"
    ) as error:
        open_split(f"hf:{tmp_path / 'empty'}", "train")
    assert "\n" not in str(error.value)


def test_without_the_extra_the_command_is_named(monkeypatch):
    load = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "datasets":
            raise ImportError(name)
        return load(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigError, match=r"needs the package datasets: pip install 'resnet-jax\["):
        open_split("hf:org/set", "train")


@pytest.mark.parametrize("names", [True, False])
def test_a_list_of_labels_is_several_classes(datasets, png, tmp_path, names):
    kind = datasets.ClassLabel(names=["cat", "dog"]) if names else datasets.Value("string")
    values = [[0, 1], [1], [], [0]]
    if not names:
        values = [[("cat", "dog")[value] for value in row] for row in values]
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.Sequence(kind)})
    images = [{"bytes": png(red), "path": None} for red in range(4)]
    rows = datasets.Dataset.from_dict({"image": images, "labels": values}, features=features)
    rows.save_to_disk(tmp_path / "pets")
    source = open_split(f"hf:{tmp_path / 'pets'}", "train")
    assert (source.is_multi_label, source.class_names) == (True, ("cat", "dog"))
    expected = [[True, True], [False, True], [False, False], [True, False]]
    assert [example["label"].tolist() for example in source] == expected
    np.testing.assert_array_equal(source.stored_labels(), expected)

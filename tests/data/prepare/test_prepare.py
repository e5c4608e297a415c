import json
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from resnet_jax.data.prepare import prepare as module
from resnet_jax.data.prepare import shards
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.data.sources import open_split
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.digits.digits_dataset_builder import Builder
from resnet_jax.errors import ConfigError


@pytest.fixture
def flowers(tmp_path, png):
    """A folder of two classes: 24 files to train on, 10 to test."""
    folder = tmp_path / "my flowers"
    for split, count in (("train", 12), ("test", 5)):
        for place, name in enumerate(("aster", "rose")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                content = png(100 * place + number + (50 if split == "test" else 0))
                (folder / split / name / f"{number:02}.png").write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(shards, "EXAMPLES_PER_PART", 5)


def test_a_folder_becomes_a_set_with_the_same_examples(flowers, tmp_path):
    seen = []
    target = prepare(
        f"folder:{flowers}", data_dir=tmp_path / "sets", progress=lambda *at: seen.append(at)
    )
    assert target == tmp_path / "sets" / "my_flowers" / "1.0.0"
    assert seen[0] == (0, 34)
    assert seen[-1] == (34, 34)
    for split in ("train", "test", "train[:50%]"):
        source = open_split("my_flowers", split, data_dir=tmp_path / "sets")
        original = open_split(f"folder:{flowers}", split)
        assert len(source) == len(original)
        assert source.class_names == original.class_names
        assert source.image_shape == (4, 5, 3)
        for example, expected in zip(source, original, strict=True):
            np.testing.assert_array_equal(example["image"], expected["image"])
            assert example["label"] == expected["label"]
    assert source.record(0).image == original.record(0).image
    assert source.name(0).endswith(".png)")
    assert not [path for path in target.iterdir() if path.name.startswith((".", "plan"))]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda part: part.write_bytes(part.read_bytes()[:70000]),
            "example 0: the prepared dataset is da",
        ),
        (
            lambda part: part.unlink(),
            "example 0: the prepared dataset is damaged here, prepare it again",
        ),
        (
            lambda part: (part.parent / "dataset_info.json").write_text("{"),
            "1.0.0 is not a whole dataset",
        ),
        (
            lambda part: (part.parent / "features.json").unlink(),
            "1.0.0 is not a whole dataset: .* remove it",
        ),
    ],
)
def test_a_damaged_set_is_named(flowers, tmp_path, damage, message):
    target = prepare(f"folder:{flowers}", data_dir=tmp_path)
    damage(target / "my_flowers-train.array_record-00000-of-00005")
    with pytest.raises(ConfigError, match=message) as error:
        list(open_split("my_flowers", "train", data_dir=tmp_path))
    assert "\n" not in str(error.value)


def test_an_interrupted_preparation_continues(flowers, tmp_path, monkeypatch):
    calls = []
    write = module.write_part

    def fail_at_the_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_part", fail_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            prepare(f"folder:{flowers}", data_dir=tmp_path, workers=1)
    seen = []
    prepare(f"folder:{flowers}", data_dir=tmp_path, progress=lambda *at: seen.append(at))
    assert seen[0][0] >= 10
    assert len(open_split("my_flowers", "train", data_dir=tmp_path)) == 24


def test_other_files_are_not_mixed_in(flowers, tmp_path, png):
    prepare(f"folder:{flowers}", data_dir=tmp_path, shard="1/2")
    (flowers / "train" / "rose" / "new.png").write_bytes(png(1))
    with pytest.raises(ConfigError, match="interrupted preparation of other files; remove it"):
        prepare(f"folder:{flowers}", data_dir=tmp_path)


def test_shards_are_prepared_apart_and_joined(flowers, tmp_path):
    for shard in ("2/3", "3/3"):
        assert prepare(f"folder:{flowers}", data_dir=tmp_path, shard=shard) is None
    left = tmp_path / "my_flowers" / "incomplete.1.0.0" / ".my_flowers-train.array_record-killed"
    left.write_bytes(b"half")
    seen = []
    target = prepare(f"folder:{flowers}", data_dir=tmp_path, progress=lambda *at: seen.append(at))
    assert 15 < seen[0][0] < 34  # the part that nobody wrote is missing
    assert seen[-1] == (34, 34)
    assert len(open_split("my_flowers", "train+test", data_dir=tmp_path)) == 34
    assert not list(target.glob(".*"))


def test_calls_that_write_the_same_part_do_not_meet(flowers, tmp_path):
    def call(_):
        prepare(f"folder:{flowers}", data_dir=tmp_path, shard="1/1", workers=2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(4)))
    prepare(f"folder:{flowers}", data_dir=tmp_path)
    prepared = open_split("my_flowers", "train", data_dir=tmp_path)
    original = open_split(f"folder:{flowers}", "train")
    assert [prepared.record(at) for at in range(24)] == [original.record(at) for at in range(24)]


def test_nothing_is_overwritten(flowers, tmp_path):
    prepare(f"folder:{flowers}", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="exists already and is not overwritten"):
        prepare(f"folder:{flowers}", data_dir=tmp_path)
    assert prepare(f"folder:{flowers}", name="again", data_dir=tmp_path) is not None


def test_a_bad_file_stops_or_is_skipped_and_listed(flowers, tmp_path):
    (flowers / "train" / "rose" / "03.png").write_bytes(b"no photo")
    with pytest.raises(ConfigError, match=r"rose/03.png: the file is no image .* or set"):
        prepare(f"folder:{flowers}", data_dir=tmp_path)
    bad = BadExamples(tmp_path / "bad.jsonl", limit=1)
    prepare(f"folder:{flowers}", data_dir=tmp_path, bad_examples=bad)
    assert len(open_split("my_flowers", "train", data_dir=tmp_path)) == 23
    assert json.loads((tmp_path / "bad.jsonl").read_text())["name"].endswith("rose/03.png")


def test_a_split_of_bad_files_alone_is_refused(flowers, tmp_path):
    for path in flowers.glob("test/*/*"):
        path.write_bytes(b"")
    bad = BadExamples(tmp_path / "bad.jsonl", limit=100)
    with pytest.raises(ConfigError, match="no file of the split 'test' can be read"):
        prepare(f"folder:{flowers}", data_dir=tmp_path, bad_examples=bad)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("", {}, "data.name='' is not the name of a dataset"),
        ("folder:", {}, "data.name='folder:' names nothing; write folder:PATH"),
        ("hf:org/set", {}, "hf:org/set needs no preparation; train with --config.data.name=hf:org"),
        (
            "digits",
            {"name": "a"},
            "--name is for folder:PATH, zip:PATH and csv:PATH; leave it out for d",
        ),
        (
            "cifar10",
            {"shard": "1/2"},
            "--shard is for folder:PATH, zip:PATH and csv:PATH",
        ),
        ("flowers", {"workers": 0}, "workers=0 can write nothing; give 1 or more"),
        (
            "flowers",
            {"name": "2017"},
            "name='2017' is not a name for a dataset; set --name: a letter",
        ),
        ("flowers", {"name": "digits"}, "name='digits' is that of the embedded dataset"),
        ("flowers", {"name": "a" * 101}, "is not a name for a dataset; set --name: .*at most 100"),
        ("flowers", {"shard": "4/3"}, "--shard=4/3 cannot be read; write I/N"),
        (
            "flowers",
            {"data_dir": "a file"},
            r"cannot be written \(Not a dir.*; set --data-dir",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused(flowers, tmp_path, source, options, message):
    (tmp_path / "a file").write_text("")
    source = f"folder:{flowers}" if source == "flowers" else source
    data_dir = tmp_path / options.pop("data_dir", "sets")
    with pytest.raises(ConfigError, match=message) as error:
        prepare(source, data_dir=data_dir, **options)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_named(flowers, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"cannot be written: .*; fix that and call again"):
            prepare(f"folder:{flowers}", data_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    prepare(f"folder:{flowers}", data_dir=tmp_path)


def test_a_negative_number_of_bad_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--skip-bad=-1 is negative"):
        BadExamples(tmp_path / "bad.jsonl", limit=-1, setting="--skip-bad")


def test_a_set_of_the_catalogue_names_its_commands(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    commands = r"pip install 'resnet-jax\[prepare\]' && resnet-jax prepare cifar10 --data-dir="
    with pytest.raises(ConfigError, match=commands):
        prepare("cifar10", data_dir=tmp_path)


def test_a_set_of_the_catalogue_is_prepared_as_array_record(tmp_path, monkeypatch):
    """With a builder that does without TensorFlow in the place of one that needs it."""
    seen = {}

    def builder(name, **options):
        seen.update(options, name=name)
        return Builder(data_dir=options["data_dir"], file_format=options["file_format"])

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("tensorflow_datasets.builder", builder)
    target = prepare("cifar10", data_dir=tmp_path)
    assert seen == {"name": "cifar10", "data_dir": tmp_path, "file_format": "array_record"}
    assert len(open_split(target.parent.name, "test", data_dir=tmp_path)) == 360


def test_a_name_that_the_catalogue_does_not_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(
        ConfigError, match=r"not a dataset: TFDS has none .* Did you mean 'cifar10'"
    ):
        prepare("cifr10", data_dir=tmp_path)

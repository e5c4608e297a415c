import errno
import io
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.config import DataConfig
from resnet_jax.data.loading.pipeline import eval_loader, train_loader
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.data.sources import load_split, open_split
from resnet_jax.data.sources.splits import MissingSplitError
from resnet_jax.errors import ConfigError


def png(value):
    buffer = io.BytesIO()
    Image.new("RGB", (5, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def photos(*folders, count=10):
    """Files in folders; the red channel is the place of the file."""
    return {
        f"{folder}/{number:02}.png": png(10 * place + number)
        for place, folder in enumerate(folders)
        for number in range(count)
    }


@pytest.fixture(params=["folder", "zip"])
def stored(request, tmp_path):
    """Writes files to a folder or an archive and gives the name of the source."""

    def write(files):
        if request.param == "zip":
            path = tmp_path / "photos.zip"
            with zipfile.ZipFile(path, "w") as archive:
                for number, (name, content) in enumerate(files.items()):
                    method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
                    archive.writestr(name, content, method)
        else:
            path = tmp_path / "photos"
            for name, content in files.items():
                (path / name).parent.mkdir(parents=True, exist_ok=True)
                if name.endswith("/"):
                    (path / name).mkdir()
                else:
                    (path / name).write_bytes(content)
        return f"{request.param}:{path}"

    return write


def reds(source):
    return sorted(int(example["image"][0, 0, 0]) for example in source)


@pytest.mark.parametrize("around", ["", "flowers/set/"])
@pytest.mark.parametrize("held_out", ["test", "val", "validation"])
def test_splits_and_classes_come_from_the_folders(stored, around, held_out):
    folders = ("train/rose", "train/aster", f"{held_out}/aster", f"{held_out}/rose")
    files = {around + name: data for name, data in photos(*folders).items()}
    name = stored({**files, around + "train/.DS_Store": b"", "__MACOSX/x": b""})
    train = open_split(name, "train")
    test = open_split(name, {"val": "validation"}.get(held_out, held_out))
    assert train.class_names == test.class_names == ("aster", "rose")
    assert reds(train) == list(range(20))
    assert reds(test) == list(range(20, 40))
    for example in train:
        assert (
            train.class_names[example["label"]]
            == ("rose", "aster")[example["image"][0, 0, 0] // 10]
        )
    assert train[3]["image"].shape == (4, 5, 3)
    assert open_split(name, "train", channels=1)[3]["image"].shape == (4, 5, 1)


def test_a_part_of_a_split_is_a_sample_of_it(stored):
    name = stored(photos("train/a", "train/b", count=10))
    first, rest = open_split(name, "train[:50%]"), open_split(name, "train[50%:]")
    assert sorted(reds(first) + reds(rest)) == list(range(20))
    assert 1 < sum(example["label"] for example in first) < 9
    assert len(open_split(name, "train[:5]+train[-5:]")) == 10
    again = [example["label"] for example in open_split(name, "train[:50%]")]
    assert again == [example["label"] for example in first]


def test_classes_alone_are_split_by_a_seed(stored):
    name = stored(photos("cat", "dog", "emu"))
    splits = [open_split(name, split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [24, 3, 3]
    assert sorted(red for split in splits for red in reds(split)) == list(range(30))
    for split in splits[1:]:
        assert sorted(example["label"] for example in split) == [0, 1, 2]
    assert pickle.loads(pickle.dumps(splits[0]))[0]["label"] == splits[0][0]["label"]


@pytest.mark.parametrize(
    ("path", "content", "listed", "message"),
    [
        ("train/a/1.heic", b"x", "train/a/1.heic", "HEIC is not read; convert it to JPEG, .*skip"),
        ("train/a/1.SVG", b"x", "train/a/1.SVG", "SVG is not read; draw it as PNG, .* 1.png; fix"),
        ("train/c/", b"", "train/c", "the class has no images"),
        (
            "test/aa/1.png",
            png(0),
            "test/aa",
            r"the class 'aa' is none of train \(Did you mean 'a'\?\); fix",
        ),
        ("Val/c/1.png", png(0), "Val/c", "the class 'c' is none of train"),
        ("train/1.png", png(0), "train/1.png", "the file lies in no folder of a class"),
    ],
)
def test_what_does_not_fit_stops_or_is_listed(stored, tmp_path, path, content, listed, message):
    name = stored({**photos("train/a", "train/b", "test/a"), path: content})
    with pytest.raises(ConfigError, match=f"{listed}: {message}") as error:
        open_split(name, "train")
    assert "\n" not in str(error.value)
    config = DataConfig(name=name, on_error="skip")
    assert len(load_split(config, "train", workdir=tmp_path)) == 20
    (line,) = (tmp_path / "bad_examples.jsonl").read_text().splitlines()
    assert json.loads(line)["name"].endswith(f"/{listed}")


SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Val"), ("train", "validation")),
        (("training", "validation"), ("train", "validation")),
        (("TRAIN", "TEST"), ("train", "test")),
        (("training_set", "test_set"), ("train", "test")),
        (("seg_train/seg_train", "seg_test/seg_test"), ("train", "test")),
        (("train/images", "valid/images", "test/images"), SPLITS),
        (("My Data/v2/train", "My Data/v2/dev", "My Data/v2/testing"), SPLITS),
        (("testing", "eval", "train2017"), ("test", "validation", "train")),
        (("val", "test"), ("validation", "test")),
        (("test",), ("test",)),
    ],
)
def test_splits_go_by_their_usual_names_in_any_case(stored, folders, splits):
    name = stored(photos(*(f"{folder}/{kind}" for folder in folders for kind in ("cat", "dog"))))
    for place, split in enumerate(splits):
        source = open_split(name, split)
        assert source.class_names == ("cat", "dog")
        assert reds(source) == list(range(20 * place, 20 * place + 20))
    with pytest.raises(MissingSplitError):
        open_split(name, "none")


@pytest.mark.parametrize("splits", [("Train", "test"), ("train", "val", "testing")])
def test_splits_may_lie_inside_of_the_classes(stored, splits):
    name = stored(photos(*(f"{kind}/{split}" for split in splits for kind in ("cat", "dog"))))
    assert open_split(name, "train").class_names == ("cat", "dog")
    assert reds(open_split(name, "train")) == list(range(20))
    assert reds(open_split(name, "test")) == list(range(20 * len(splits) - 20, 20 * len(splits)))
    assert "inside of the classes" in open_split(name, "test").notes[0]


def test_a_class_may_be_called_train(stored):
    source = open_split(stored(photos("car", "plane", "train")), "train")
    assert source.class_names == ("car", "plane", "train")
    assert source.notes[0].startswith("read train as classes like the other folders")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test"), "test, train are named as splits and hold images without classes"),
        (("train2017",), "the folder train2017 is named as a split and holds images without"),
        (("Train/a", "training/a"), "both 'Train' and 'training' mean the split train"),
        (("train/a", "val/a", "valid/a"), "both 'val' and 'valid' mean the split validation"),
        (("",), "has images \\(10\\) and no folders of classes; .* csv:PATH"),
        (("photos",), None),
    ],
)
def test_folders_that_cannot_be_classes_are_refused(stored, folders, message):
    files = {name.removeprefix("/"): data for name, data in photos(*folders).items()}
    if message is None:
        assert open_split(stored(files), "train").class_names == folders
        return
    with pytest.raises(ConfigError, match=message) as error:
        open_split(stored(files), "train")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folders", [("train", "test"), ("",)])
def test_a_table_that_lies_next_to_the_images_is_named(stored, folders):
    files = {name.removeprefix("/"): data for name, data in photos(*folders).items()}
    name = stored(files | {"sample.csv": b"id\n1", "train.csv": b"id,label\n1,cat"})
    place = f"csv:{name.partition(':')[2]}/train.csv"
    remedy = "unpack the archive and take" if name.startswith("zip") else f"there: {place}"
    with pytest.raises(ConfigError, match=remedy):
        open_split(name, "train")


def test_what_is_no_image_is_left_out_with_a_note(stored):
    names = ("README.md", "labels.csv", "train/Thumbs.db", "train/a/notes.txt", "LICENSE", "x.json")
    files = photos("train/a", "train/b", "Val/a") | dict.fromkeys(names, b"x")
    source = open_split(stored({**files, "extra/1.png": png(0), "test/7.png": png(0)}), "train")
    assert reds(source) == list(range(20))
    assert sorted(source.notes) == [
        "left out 5 files that are not images by their names: LICENSE, README.md, labels.csv, ...",
        "left out the folder extra (1 file): it is none of a split",
        "left out the folder test: no class for 1 image in it",
        "read the folders as splits: Val is validation, test is test, train is train",
    ]


def test_few_images_are_told_from_none(stored):
    many, few = photos("a", count=5), photos("b", count=4)
    with pytest.raises(ConfigError, match=r"each class has fewer than 5 images, b \(4\), so"):
        open_split(stored(few), "train")
    name = stored(many | few)
    assert [len(open_split(name, split)) for split in SPLITS] == [7, 1, 1]
    assert open_split(name, "test").notes[-1].endswith("images are only trained on: b (4)")


def test_every_extension_of_jpeg_is_read(stored):
    pixels = io.BytesIO()
    Image.new("RGB", (5, 4)).save(pixels, "JPEG")
    names = [f"train/a/1.{kind}" for kind in ("jpg", "JPEG", "jpe", "jfif", "JFIF")]
    source = open_split(stored(dict.fromkeys(names, pixels.getvalue())), "train")
    assert len(list(source)) == 5


@pytest.mark.parametrize("form", ["./{}", "{}", ".\\{}"])
def test_entries_of_archives_are_paths_however_they_are_written(tmp_path, form):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in photos("train/a", "train/b", "test/a").items():
            written = form.format(name)
            archive.writestr(written.replace("/", "\\") if "\\" in form else written, content)
    train = open_split(f"zip:{tmp_path}/set.zip", "train")
    assert train.class_names == ("a", "b")
    assert reds(train) == list(range(20))


@pytest.fixture
def damaged(stored):
    """Twelve photos of which two are damaged."""
    files = photos("train/a", "train/b", count=6)
    files["train/a/02.png"] = files["train/a/02.png"][:40]
    files["train/b/04.png"] = b""
    return stored(files)


def test_a_bad_image_stops_with_its_name(damaged):
    source = open_split(damaged, "train")
    with pytest.raises(ConfigError, match=r"train/(a/02|b/04).png: .* or set data.on_error=skip"):
        list(source)
    with (
        pytest.raises(ConfigError, match=r"train/(a/02|b/04).png: .* or set data.on_error=skip"),
        train_loader(source, batch_size=12, seed=0) as loader,
    ):
        next(loader)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_bad_image_is_skipped_counted_and_listed(damaged, tmp_path, in_memory):
    config = DataConfig(name=damaged, on_error="skip", in_memory=in_memory)
    source = load_split(config, "train", workdir=tmp_path)
    with train_loader(source, batch_size=12, seed=0) as loader:
        for _ in range(2):
            batch = next(loader)
            assert batch["mask"].all()
            assert len(set(batch["image"][:, 0, 0, 0])) == 10
    batches = list(eval_loader(source, batch_size=8))
    assert sum(batch["mask"].sum() for batch in batches) == 10
    seen = np.concatenate([batch["image"][batch["mask"]][:, 0, 0, 0] for batch in batches])
    assert len(set(seen)) == 10
    lines = (tmp_path / "bad_examples.jsonl").read_text().splitlines()
    assert {json.loads(line)["name"][-14:] for line in lines} == {
        "train/a/02.png",
        "train/b/04.png",
    }
    assert len(lines) == 2


def test_streamed_and_in_memory_agree_about_bad_images(damaged, tmp_path):
    batches = []
    for in_memory in (False, True):
        config = DataConfig(name=damaged, on_error="skip", in_memory=in_memory)
        source = load_split(config, "train", workdir=tmp_path)
        with train_loader(source, batch_size=6, seed=4) as loader:
            batches.append([next(loader) for _ in range(4)])
    for first, second in zip(*batches, strict=True):
        np.testing.assert_array_equal(first["image"], second["image"])


def test_no_more_are_skipped_than_the_limit(damaged, tmp_path):
    config = DataConfig(name=damaged, on_error="skip", max_bad_examples=1)
    with pytest.raises(ConfigError, match=r"example 2 to be skipped and data.max_bad_examples=1"):
        list(eval_loader(load_split(config, "train", workdir=tmp_path), batch_size=4))


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    for name, content in photos("set/train/a", "other").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / "set/train/a/up").symlink_to("../..")
    (tmp_path / "set/train/b").symlink_to(tmp_path / "other")
    train = open_split(f"folder:{tmp_path}/set", "train")
    assert train.class_names == ("a", "b")
    assert reds(train) == list(range(20))


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    """Its class would go missing without a word. (Root may list any folder.)"""
    (tmp_path / "train" / "a").mkdir(parents=True)

    def scandir(path, scan=os.scandir):
        if str(path).endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ConfigError, match="train/a: the folder cannot be read: Permission denied"):
        open_split(f"folder:{tmp_path}", "train")


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS takes only names in UTF-8")
def test_a_name_may_be_any_bytes(tmp_path):
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / os.fsdecode(b"\xff.png")).write_bytes(png(7))
    assert reds(open_split(f"folder:{tmp_path}", "train")) == [7]


def test_an_unreadable_file_is_named(tmp_path):
    for name, content in photos("train/a").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source = open_split(f"folder:{tmp_path}", "train")
    (tmp_path / "train/a/03.png").unlink()
    (tmp_path / "train/a/03.png").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=r"a/03.png: the file cannot be read: No such file"):
        list(source)


def test_a_damaged_archive_is_named(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in photos("train/a").items():
            archive.writestr(name, content)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    path.write_bytes(data)
    with pytest.raises(
        ConfigError, match=r"train/a/00.png: the archive is damaged here: the check"
    ):
        list(open_split(f"zip:{path}", "train"))
    path.write_bytes(data[:200])
    with pytest.raises(ConfigError, match=r"the archive cannot be read .File is not a zip file"):
        open_split(f"zip:{path}", "train")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("train/a/00.png", png(0))
    with pytest.raises(
        ConfigError, match=r"a/00.png: the file is packed by method 14; pack the ar"
    ):
        list(open_split(f"zip:{path}", "train"))


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        (
            ("train/a",),
            "validation",
            r"has no split 'validation'. Set data.train_split=train\[:90%",
        ),
        (("train/a", "test/a"), "tset", "has no split 'tset'. Did you mean 'test'"),
        (("train/a",), "train[", r"split 'train\[' cannot be read; write it as"),
    ],
)
def test_a_wrong_split_is_named(stored, files, split, message):
    with pytest.raises(ConfigError, match=message):
        open_split(stored(photos(*files)), split)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no such folder"):
        open_split(f"folder:{tmp_path}/none", "train")
    with pytest.raises(ConfigError, match=r"there is no such folder; write zip:"):
        open_split(f"folder:{tmp_path}/set.zip", "train")
    with pytest.raises(ConfigError, match=r"there is no such folder; write csv:.*/set.tsv"):
        open_split(f"folder:{tmp_path}/set.tsv", "train")
    with pytest.raises(ConfigError, match="it is a folder; write folder:"):
        open_split(f"zip:{tmp_path}", "train")
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        open_split(f"zip:{tmp_path}/set.zip", "train")
    with pytest.raises(ConfigError, match="has no folders of classes"):
        open_split(f"folder:{tmp_path}", "train")


def test_a_label_out_of_range_is_named(digits):
    digits = type(digits)(digits.images[:3], np.array([0, 10, 2]), digits.class_names)
    with pytest.raises(ConfigError, match="example 1: the label 10 is none of 0 to 9"):
        list(digits)


def test_classes_that_may_be_one_are_named(tmp_path, caplog):
    for name, content in photos("Cat", "cat", "dog").items():
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    source = open_split(f"folder:{tmp_path}/photos", "train")
    assert len(source.class_names) == 3
    assert "'Cat' and 'cat'; give them one name" in source.notes[-1]
    with caplog.at_level("INFO", logger="resnet_jax"):
        prepare(f"folder:{tmp_path}/photos", data_dir=tmp_path / "sets")
    assert source.notes[-1] in caplog.messages

import numpy as np
import pytest

from resnet_jax.data.config import DataConfig
from resnet_jax.data.prepare.prepare import prepare
from resnet_jax.data.sources import load_split, open_split
from resnet_jax.errors import ConfigError

SPLITS = ("train", "validation", "test")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


@pytest.fixture
def table(folder, png):
    """Writes a table next to images `0.png`, `1.png`, ..., and gives the name of the source."""

    def write(text, *, count=12, images="{}.png", encoding="utf-8"):
        for red in range(count):
            path = folder / images.format(red)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(red))
        (folder / "labels.csv").write_text(text, encoding=encoding)
        return f"csv:{folder}/labels.csv"

    return write


def rows(header, cells, count=12):
    """A table whose rows are `cells` formatted with the number and the class of an image."""
    lines = (cells.format(number, ("cat", "dog")[number % 2]) for number in range(count))
    return "\n".join([header, *lines])


def classes_of(source):
    """Maps the red of each image to the name of its class."""
    return {
        int(example["image"][0, 0, 0]): source.class_names[example["label"]] for example in source
    }


def expected(count=12):
    return {red: ("cat", "dog")[red % 2] for red in range(count)}


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("file,label", "{}.png,{}"),
        ("File Name;Class", "{}.png;{}"),
        ("image_path\tcategory", "./{}.png\t{}"),
        (",filename,target", "{0},{0}.png,{1}"),
        ("Unnamed: 0, image , Labels ", '{0},"{0}.png" , {1} '),
        ("id,breed", "{},{}"),
        ("id,file,label", "{0},{0}.png,{1}"),
        ("label_id,label,img", "7,{1},{0}.png"),
        ("image_id,label,caption", '{},{},"a, b"'),
        ("file,label", "{}.png,{}\n,"),
        ("file|label", "{}.png|{}"),
        ("file label", "{}.png  {}"),
        ("file,label", '{}.png,"{}"'),
        ("file;label,of the vet", "{}.png;{}"),
        ("file,breed,fold", "{}.png,{},3"),
        ("Unnamed: 0.1,Unnamed: 0,file,breed,width", "{0},{0},{0}.png,{1},300"),
    ],
)
def test_columns_go_by_their_usual_names(table, header, cells):
    name = table(rows(header, cells), encoding="utf-8-sig")
    found = {}
    for split in SPLITS:
        source = open_split(name, split)
        assert source.class_names == ("cat", "dog")
        found |= classes_of(source)
    assert found == expected()
    assert any("no column split: a tenth of each class is" in note for note in source.notes)


@pytest.mark.parametrize(
    ("separator", "words"),
    [(";", "semicolons"), ("\t", "tabs"), ("|", "the character |"), (" ", "spaces")],
)
def test_what_separates_cells_is_said(table, separator, words):
    text = rows("file,label", "{}.png,{}").replace(",", separator)
    assert f"read the table as cells separated by {words}" in open_split(table(text), "test").notes


@pytest.mark.parametrize(
    ("header", "train", "validation"),
    [
        ("file,label,split", "Train", "val"),
        ("file,label,is_valid", "False", "True"),
        ("file,label,Is Valid", "0", "1"),
        ("file,label,Data Set", "training set", "valid"),
    ],
)
def test_a_column_may_say_the_split(table, header, train, validation):
    text = rows(header, "{}.png,{}," + train, count=8).splitlines()
    text += [f"{red}.png,dog,{validation}" for red in (9, 11)]
    name = table("\n".join(text))
    assert classes_of(open_split(name, "train")) == expected(8)
    assert classes_of(open_split(name, "validation")) == {9: "dog", 11: "dog"}
    with pytest.raises(ConfigError, match="has no split 'test'"):
        open_split(name, "test")


def test_a_column_may_say_what_is_for_testing(table):
    name = table(rows("file,label,is_test", "{}.png,{},0", count=8) + "\n9.png,dog,1")
    assert classes_of(open_split(name, "train")) == expected(8)
    assert classes_of(open_split(name, "test")) == {9: "dog"}


def test_a_column_of_other_sets_is_no_column_of_splits(table):
    source = open_split(table(rows("file,label,dataset", "{}.png,{},ISIC")), "train")
    assert source.notes[0] == "left out the column 'dataset'"
    assert len(source) == 8


def test_columns_of_flags_are_classes(table):
    text = "image,cat,dog\n" + "\n".join(f"{red}.png,{1 - red % 2},{red % 2}" for red in range(12))
    source = open_split(table(text), "train+validation+test")
    assert classes_of(source) == expected()
    assert (
        source.notes[0] == "read the 2 columns of 0 and 1 as classes, of which each image has one"
    )


@pytest.mark.parametrize("flags", [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("Yes", "no")])
def test_flags_are_written_in_several_ways(table, flags):
    text = "image,cat,dog\n" + "\n".join(
        f"{red}.png,{flags[red % 2]},{flags[1 - red % 2]}" for red in range(12)
    )
    assert classes_of(open_split(table(text), "train+validation+test")) == expected()


def test_a_class_that_is_not_trained_on_names_a_file(table):
    name = table("file,label,split\n0.png,a,train\n1.png,b,val")
    with pytest.raises(ConfigError, match=r"/1.png: the class 'b' is none of train"):
        open_split(name, "validation")


def test_a_table_of_another_split_next_to_it_is_named(table, folder):
    table(GOOD)
    (folder / "labels.csv").rename(folder / "train.csv")
    (folder / "test.csv").write_text("file\n0.png")
    notes = open_split(f"csv:{folder}/train.csv", "train").notes
    assert "test.csv is not read: for its images, join both tables with a column split" in notes
    text = rows("file,label,split", "{}.png,{},train")
    (folder / "train.csv").write_text(text)
    assert open_split(f"csv:{folder}/train.csv", "train").notes == ()


def test_a_comma_in_a_label_is_said(table):
    text = "file,label\n" + "\n".join(
        f'{red}.png,"{("cat, tabby", "dog")[red % 2]}"' for red in range(12)
    )
    notes = open_split(table(text), "train").notes
    assert notes[0].startswith("read 'cat, tabby' as one label; csv:")
    assert notes[0].endswith(":comma reads several")
    assert len(open_split(table(text) + ":none", "train").notes) == 1


def test_a_class_without_training_images_stays_and_is_named(table):
    text = "file,cat,dog,emu,split\n0.png,1,1,0,train\n1.png,1,0,0,train\n2.png,0,0,1,val"
    source = open_split(table(text), "train")
    assert source.class_names == ("cat", "dog", "emu")
    assert source.notes[-1].startswith("no training image has the class 'emu': the network cannot")
    one_each = "image,cat,dog,emu\n" + "\n".join(
        f"{red}.png,{1 - red % 2},{red % 2},0" for red in range(12)
    )
    source = open_split(table(one_each), "train")
    assert not source.is_multi_label
    assert source.class_names == ("cat", "dog", "emu")
    assert "no training image has the class 'emu'" in source.notes[-1]


@pytest.mark.parametrize("images", ["train_images/{}.png", "../elsewhere/{}.png", "a/b/{}.png"])
def test_files_are_found_below_the_folder_of_the_table(table, folder, images):
    name = table(rows("file,label", "../elsewhere/{}.png,{}"), images=images)
    if images.startswith(".."):
        source = open_split(name, "train+validation+test")
        assert classes_of(source) == expected()
        return
    with pytest.raises(ConfigError, match=r"row 2 of labels.csv: there is no such file; paths are"):
        open_split(name, "train")
    source = open_split(table(rows("file,label", "{}.png,{}"), images=images), "train[:100%]")
    assert f"found 12 files by name, such as 0.png as {images.format(0)}" in source.notes
    assert classes_of(source).items() <= expected().items()
    absolute = table(rows("file,label", f"{folder}/{images}" + ",{}"), images=images)
    assert len(open_split(absolute, "train+validation+test")) == 12


@pytest.mark.parametrize("least", [0, -1])
def test_classes_that_are_numbers_are_in_their_order(table, least):
    text = "file,label\n" + "\n".join(f"{red}.png,{red + least}" for red in range(12))
    train = text.replace("label", "label,split").replace("\n", ",train\n") + ",train"
    train = train.replace("split,train", "split")
    source = open_split(table(train), "train")
    assert source.class_names == tuple(map(str, range(least, 12 + least)))


GOOD = rows("file,label", "{}.png,{}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label,class\n0.png,a,b", "columns 'label' and 'class' could both be the labels"),
        ("file,path,label\n0.png,0.png,b", "columns 'file' and 'path' could both be the files"),
        ("id,image_id,label\n0,0,b", "columns 'id' and 'image_id' could both be the files"),
        ("file,colour,shape\n0.png,red,round", "any of the columns 'colour', 'shape' could be"),
        ("file,cat,dog\n0.png,x,\n1.png,,x", "or write 0 and 1 into them where each is a class"),
        ("a,b\n0.png,cat", "has no column of files among 'a', 'b'; call one of them file"),
        ("file\n0.png", "has no column of labels; add one, called label"),
        ("file,fold\n0.png,1", "has no column of labels: 'fold' would say something else of an"),
        ("file,Unnamed: 0\n0.png,1", "has no column of labels; add one, called label"),
        ("file,id,width\n0.png,1,2", "no column of labels: 'id' and 'width' would say"),
        ("0.png,cat\n1.png,dog", r"first row names an image \(0.png, cat\); write the names"),
        ("file,label", "has no rows below the names of its columns"),
        ("\n\n", "is empty; write the names of its columns, such as file,label"),
        ("file,label\n0.png,1\n1.png,0", "labels.csv: each class has fewer than 5 images"),
        ("file,cat,dog\n0.png,1,0\n1.png,1,", "'' in the column 'dog' is neither 0 nor 1"),
        ("file,cat,dog\n0.png,-1,0\n1.png,1,0", "'-1' in the column 'cat' is neither 0 nor 1"),
        ("file,age,cat,dog\n0.png,20,0,1\n1.png,1,0,1", "'20' in the column 'age' is neither"),
        ("file,label,subset\n0.png,a,train\n1.png,b,", "'' in the column 'subset' is no split;"),
        ("file,label,label\n0.png,a,b", "has several columns 'label'; rename or remove one"),
        ("file,label\n0.png,a,b", "row 2: 3 cells for 2 columns; put cells that contain"),
        ("# mine\nfile,label\n0.png,a", "first row, '# mine', has 1 cell and row 2 2; the names"),
        ("file,label\n0.png\n1.png,a", "row 2: 1 cell for 2 columns; put cells that contain"),
        ('file,label\n0.png,a\n1.png,"b\n2.png,a\n3.png,b', "row 3: a cell does not end, or has"),
        ('file,label\n0.png,a\n1.png,"b' + "b" * 2**17 + '"', "row 3: a cell does not end, or has"),
        ("id;a,file\n0;x,0.png", "commas or semicolons could separate its cells; leave only one"),
        ("file,label,split\n0.png,a,fold1", "'fold1' in the column 'split' is no split; write"),
        (GOOD + "\n0.png,dog", "0.png is 'cat' in row 2 and 'dog' in row 14; remove one of the"),
        (
            "file,label,split\n0.png,a,train\n1.png,a,train\n0.png,a,test",
            "0.png is 'train' in row 2 and 'test' in row 4; remove one of the rows",
        ),
        ('file,label,split\n0.png,"a\nb",train', r"class 'a\\\\nb' has a control character, such"),
        ("file,a\x1b[m,b\n0.png,1,1\n1.png,0,0", "labels.csv: the name of the class .* has a con"),
        ("file,label\n90.png,a", "has no row that can be used"),
        ("file,label\n0.png,1.5\n1.png,2", "numbers such as 1.5, and regression is not offered"),
    ],
)
def test_a_table_that_cannot_be_read_in_one_way_is_refused(table, tmp_path, text, message):
    config = DataConfig(name=table(text), on_error="skip")
    with pytest.raises(ConfigError, match=message) as error:
        load_split(config, "train", workdir=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("0.png,cat", "the file stands in row 2 as well"),
        ("none.png,cat", "there is no such file; paths are relative to"),
        ("\0.png,cat", "there is no such file; paths are relative to"),
        ('"a\nb.png",cat', "there is no such file; paths are relative to"),
        ("x" * 300 + ",cat", "there is no such file; paths are relative to"),
        (",cat", "it names no file"),
        ("spare.png,", "it has no label"),
        ("spare.png,NaN", "it has no label"),
        ("twin,cat", "the file could be p/twin.png or q/twin.png; write the whole path"),
        ("one.heic,cat", "HEIC is not read; convert it"),
        ("labels.csv,cat", "it is not an image by its name"),
    ],
)
def test_a_row_that_cannot_be_used_stops_or_is_listed(table, folder, tmp_path, png, row, problem):
    name = table(f"{GOOD}\n{row}")
    for path in ("spare.png", "p/twin.png", "q/twin.png", "one.heic"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(png(0))
    with pytest.raises(ConfigError, match=rf"row 1[45] of labels.csv: {problem}.*skip") as error:
        open_split(name, "train")
    assert "\n" not in str(error.value)
    config = DataConfig(name=name, on_error="skip")
    source = load_split(config, "train+validation+test", workdir=tmp_path)
    assert classes_of(source) == expected()
    (line,) = (tmp_path / "bad_examples.jsonl").read_text().splitlines()
    assert "row 1" in line


@pytest.mark.parametrize(
    ("front", "what"),
    [
        ("/nowhere/", "is an absolute path"),
        ("C:\\Users\\me\\", "is an absolute path"),
        ("D:/data/", "is an absolute path"),
        ("\\\\server\\share\\", "is an absolute path"),
        ("~/data/", "is an absolute path"),
        ("https://example.org/", "is an address"),
        ("gs://bucket/", "is an address"),
    ],
)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_absolute_paths_of_another_machine_get_one_line(table, tmp_path, front, what, on_error):
    config = DataConfig(name=table(rows("file,label", front + "{}.png,{}")), on_error=on_error)
    with pytest.raises(ConfigError) as error:
        load_split(config, "train", workdir=tmp_path)
    assert str(error.value).endswith(
        f"labels.csv, row 2: {front}0.png {what}, as in 12 rows, and there is no such file here; "
        f"remove {front!r} from the front of its paths: 0.png lies next to the table"
    )
    assert not list(tmp_path.glob("*.jsonl"))


def test_an_absolute_path_of_this_machine_that_is_missing_is_one_bad_row(table, folder, tmp_path):
    name = table(rows("file,label", f"{folder}" + "/{}.png,{}") + "\n/nowhere/0.png,cat")
    with pytest.raises(ConfigError, match=r"^/nowhere/0.png: row 14 of labels.csv: there is no"):
        open_split(name, "train")
    config = DataConfig(name=name, on_error="skip")
    assert len(load_split(config, "train+validation+test", workdir=tmp_path)) == 12


@pytest.mark.parametrize("written", ["a/{}.PNG", "a/{}.jpg", "A/{}.png", "B/A/{}.png"])
def test_a_file_of_nearly_the_same_name_is_named(table, written):
    name = table(rows("file,label", written + ",{}"), images="b/a/{}.png")
    with pytest.raises(ConfigError, match=r"no such file, but b/a/0.png; write it as it is called"):
        open_split(name, "train")


@pytest.mark.parametrize("written", ["{}", "{}.0", "{}.png"])
def test_names_that_became_numbers_are_recognised(table, written):
    name = table(rows("id,label", written + ",{}"), images="images/{:05}.png")
    with pytest.raises(ConfigError, match=r"row 2 .* no such file, but images/00000.png: .*=str"):
        open_split(name, "train")
    kept = table(rows("id,label", "{:05},{}"), images="images/{:05}.png")
    assert len(open_split(kept, "train")) == 8


def test_labels_that_pandas_wrote_as_floats_are_whole_numbers(table):
    text = "file,label,split\n0.png,0.0,train\n1.png,10.0,train\n2.png,2.0,train"
    assert open_split(table(text), "train").class_names == ("0", "2", "10")
    halves = table("file,label,split\n0.png,0.5,train\n1.png,1.5,train") + ":none"
    assert open_split(halves, "train").class_names == ("0.5", "1.5")


def test_a_file_that_is_no_table_is_named(table, tmp_path):
    with pytest.raises(ConfigError, match=r"csv:.*/none.csv': there is no such file"):
        open_split(f"csv:{tmp_path}/none.csv", "train")
    (tmp_path / "labels.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(ConfigError, match=r"labels.xlsx is not read; save it as CSV"):
        open_split(f"csv:{tmp_path}/labels.xlsx", "train")
    with pytest.raises(ConfigError, match="'tab' is no separator of labels; give pipe, semi"):
        open_split(table(GOOD) + ":tab", "train")
    with pytest.raises(ConfigError, match=r"it is a folder; write csv:.*/labels.csv or"):
        open_split(f"csv:{tmp_path}", "train")
    with pytest.raises(ConfigError, match="is not UTF-8 text; save it as CSV in UTF-8"):
        open_split(table(GOOD.replace("cat", "Käfer"), encoding="latin-1"), "train")


def test_a_table_can_be_prepared(table, tmp_path):
    name = table(rows("file,label,split", "{}.png,{},train"))
    assert prepare(name, data_dir=tmp_path / "sets") == tmp_path / "sets" / "labels" / "1.0.0"
    prepared = open_split("labels", "train", data_dir=tmp_path / "sets")
    assert prepared.class_names == ("cat", "dog")
    for one, other in zip(prepared, open_split(name, "train"), strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        assert one["label"] == other["label"]


SEVERAL = {"0.png": "cat dog", "1.png": "dog", "2.png": "", "3.png": "cat"}


@pytest.mark.parametrize(
    ("header", "cells", "separator"),
    [
        (
            "file,labels,split",
            {name: label.replace(" ", "|") for name, label in SEVERAL.items()},
            "pipe",
        ),
        (
            "file,labels,split",
            {name: f'"{label.replace(" ", ", ")}"' for name, label in SEVERAL.items()},
            "comma",
        ),
        ("file,tags,split", SEVERAL, "space"),
        ("file,tags,split", {name: f'"{label.split()}"' for name, label in SEVERAL.items()}, ""),
        (
            "file,tags,split",
            {name: f'"{tuple(label.split())}"' for name, label in SEVERAL.items()},
            "",
        ),
        (
            "file,cat,dog,split",
            {
                name: f"{int('cat' in label)},{int('dog' in label)}"
                for name, label in SEVERAL.items()
            },
            "",
        ),
    ],
)
def test_a_file_may_have_several_labels(table, tmp_path, header, cells, separator):
    text = "\n".join([header, *(f"{name},{cell},train" for name, cell in cells.items())])
    name = table(text) + (f":{separator}" if separator else "")
    source = open_split(name, "train")
    assert source.is_multi_label
    assert source.class_names == ("cat", "dog")
    found = {example["image"][0, 0, 0]: example["label"].tolist() for example in source}
    assert found == {0: [True, True], 1: [False, True], 2: [False, False], 3: [True, False]}
    assert any("up to 2 labels; 1 image has none" in note for note in source.notes)
    np.testing.assert_array_equal(source.stored_labels(), [example["label"] for example in source])
    kept = source.in_memory()
    np.testing.assert_array_equal(kept.labels, source.stored_labels())
    for swapped in (source, kept):
        swapped = swapped.relabelled(np.array([2, 0], np.int32), ("dog", "emu", "cat"))
        rows = [example["label"].tolist() for example in swapped]
        assert rows == [[dog, False, cat] for cat, dog in source.stored_labels().tolist()]
        np.testing.assert_array_equal(swapped.stored_labels(), rows)
    prepare(name, name="several", data_dir=tmp_path / "sets")
    prepared = open_split("several", "train", data_dir=tmp_path / "sets")
    assert prepared.is_multi_label
    for one, other in zip(prepared, source, strict=True):
        np.testing.assert_array_equal(one["label"], other["label"])


def test_several_labels_without_splits_are_divided(table):
    text = "file,labels\n" + "\n".join(
        f"{red}.png,{'a|b' if red % 2 else 'b'}" for red in range(12)
    )
    name = table(text) + ":pipe"
    assert [len(open_split(name, split)) for split in SPLITS] == [10, 1, 1]


@pytest.mark.parametrize(
    ("text", "separator", "message"),
    [
        (
            "file,label\n0.png,a|b\n1.png,a",
            "",
            r"'a\|b' can be one label or several; write csv:.*:pipe for s",
        ),
        ("file,label\n0.png,a;b\n1.png,a", "", r":semicolon for several, or csv:.*:none for one"),
        (
            "file,label,split\n0.png,a|b,train\n1.png,c,test",
            ":pipe",
            "the class 'c' is none of train",
        ),
        ("file,label\n0.png,[1\n1.png,[a]", "", None),
        ("file,label\n0.png,(a)\n1.png,(b)", "", None),
        ("file,label\n0.png,['a' 'b']\n1.png,['b']", "", r"\['a' 'b'\]\" are no list of names"),
        ("file,label\n0.png,[None]\n1.png,['b']", "", r"'\[None\]' are no list of names; write"),
        ("file,label\n0.png,[a]\n1.png,[b]", "", r"the labels '\[a\]' are no list of names; write"),
        ("file,label,split\n0.png,,train\n1.png,,train", ":pipe", "no file has a class; give some"),
    ],
)
def test_cells_of_labels_that_cannot_be_read_in_one_way_are_refused(
    table, text, separator, message
):
    name = table(text) + separator
    if message is None:
        message = "each class has fewer than 5 images"
    with pytest.raises(ConfigError, match=message) as error:
        open_split(name, "train")
    assert "\n" not in str(error.value)


def test_a_separator_in_a_name_can_be_kept(table):
    name = table("file,label,split\n0.png,a|b,train\n1.png,c,train") + ":none"
    assert open_split(name, "train").class_names == ("a|b", "c")

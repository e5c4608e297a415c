import io
import itertools
import json
import os

import numpy as np
import pytest
from PIL import Image

from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import Classifier
from resnet_jax.inference.image_files import find_files, prepare_image, read_ahead, read_image_file
from resnet_jax.inference.predict import predict
from resnet_jax.network_inputs import NetworkInputs


@pytest.fixture
def classifier(colour_sighted):
    return Classifier(colour_sighted, batch_size=4)


def test_files_that_are_not_images_are_counted(tmp_path):
    for name in ("b.png", "README.md", "sub/labels.csv", "sub/c.jfif", "sub/d.heic", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic")
    skipped = []
    found = list(find_files([str(tmp_path)], skipped=skipped))
    assert found == [str(tmp_path / name) for name in ("b.png", "sub/c.jfif", "sub/d.heic")]
    assert skipped == [str(tmp_path / name) for name in ("README.md", "sub/labels.csv")]
    problem = read_image_file(found[-1], NetworkInputs(size=8)).problem
    assert problem.startswith("HEIC is not read; convert it to JPEG")


def test_a_folder_is_classified_in_the_order_of_names_by_one_program(classifier, image_folder):
    found = list(predict(classifier, [str(image_folder / "test")], top=2))
    assert [prediction.path for prediction in found] == sorted(
        str(path) for path in image_folder.glob("test/*/*.png")
    )
    for prediction in found:
        assert prediction.candidates[0].name == prediction.path.split("/")[-2]
        assert len(prediction.candidates) == 2
    assert classifier.compilations == 1


def test_bad_files_are_reported_in_place_and_the_others_classified(
    classifier, image_folder, tmp_path
):
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "none").mkdir()
    good = str(image_folder / "test/red/0.png")
    names = [
        str(tmp_path / "text.png"),
        good,
        str(tmp_path / "empty.jpg"),
        str(tmp_path / "missing.png"),
        str(tmp_path / "none"),
        good,
    ]
    found = list(predict(classifier, names))
    assert [prediction.path for prediction in found] == names
    assert [prediction.problem for prediction in found] == [
        "the file is no image of a known format",
        "",
        "the file is empty",
        "no such file or directory",
        "the folder contains no images",
        "",
    ]
    assert found[1].candidates == found[5].candidates
    assert found[1].candidates[0].name == "red"


def test_nothing_gives_nothing_and_top_is_checked(classifier):
    assert list(predict(classifier, [])) == []
    with pytest.raises(ConfigError, match="top=0"):
        next(predict(classifier, [], top=0))


def test_an_endless_list_of_files_streams(classifier, image_folder):
    endless = itertools.cycle([str(image_folder / "test/blue/0.png")])
    found = list(itertools.islice(predict(classifier, endless), 9))
    assert {prediction.candidates[0].name for prediction in found} == {"blue"}


def test_without_a_size_the_first_image_decides(classifier, image_folder):
    object.__setattr__(classifier.trained, "inputs", NetworkInputs())
    first, *rest = predict(classifier, [str(image_folder / "test/blue")])
    assert first.problem == ""
    assert all("--inputs.size=N" in prediction.problem for prediction in rest)


def test_predictions_are_text_and_json(classifier, image_folder):
    (prediction,) = predict(classifier, [str(image_folder / "test/green/0.png")], top=2)
    first, *rows = prediction.to_text().splitlines()
    assert first == prediction.path
    assert rows[0].split()[1] == "green"
    record = json.loads(prediction.to_json())
    assert record["file"] == prediction.path
    candidate = prediction.candidates[0]
    best = {"class": "green", "index": 1, "probability": round(candidate.probability, 6)}
    assert record["predictions"][0] == candidate.plain() == best


def test_folders_are_searched_recursively_and_other_files_skipped(tmp_path):
    for name in ("b.jpg", "a.PNG", "sub/c.webp", "notes.txt", ".hidden.png", ".git/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_files([str(tmp_path), "named.txt"])
    names = [name.removeprefix(f"{tmp_path}/") for name in found]
    assert names == ["a.PNG", "b.jpg", "sub/c.webp", "named.txt"]


def test_links_to_a_folder_above_are_not_followed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    assert list(find_files([str(tmp_path)])) == [str(tmp_path / "sub" / "a.png")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_an_unreadable_folder_is_reported_and_the_others_read(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    (tmp_path / "a").chmod(0)
    first, second = find_files([str(tmp_path)])
    assert read_image_file(first, NetworkInputs()).problem == "permission denied"
    assert second.endswith("b/x.png")


def test_reading_stays_a_few_files_ahead():
    asked = []

    def names():
        for number in itertools.count():
            asked.append(number)
            yield f"missing-{number}"

    files = read_ahead(names(), NetworkInputs(), ahead=3)
    assert next(files).path == "missing-0"
    assert len(asked) == 4
    files.close()


def test_an_image_is_prepared_as_for_evaluation():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    np.testing.assert_array_equal(prepare_image(buffer.getvalue(), NetworkInputs()), pixels)
    small = prepare_image(buffer.getvalue(), NetworkInputs(size=16, crop_fraction=0.8))
    resized = Image.fromarray(pixels).resize((20, 26), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small, np.asarray(resized.crop((2, 5, 18, 21))))
    grey = prepare_image(
        buffer.getvalue(), NetworkInputs(size=16, channels=1, mean=(0.5,), std=(0.5,))
    )
    assert grey.shape == (16, 16, 1)


def test_a_file_that_may_not_be_read_is_a_problem(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        assert read_image_file(str(path), NetworkInputs()).problem == "it is not a regular file"
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(2**30)  # a hole: it takes no room
    problem = read_image_file(str(tmp_path / "large.png"), NetworkInputs()).problem
    assert problem.startswith("the file has 1073741824 bytes, the limit is ")
    assert read_image_file(str(tmp_path / "x" / "y.png"), NetworkInputs()).image is None
    assert "name too long" in read_image_file("x" * 5000 + ".png", NetworkInputs()).problem
    assert "null" in read_image_file("x\0.png", NetworkInputs()).problem
    assert list(find_files(["x" * 5000, "x\0"])) == ["x" * 5000, "x\0"]

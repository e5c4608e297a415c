import dataclasses
import json

import numpy as np
import pytest

from resnet_jax.cli import main
from resnet_jax.data.config import DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.inference import evaluate
from resnet_jax.inference.classifier import Classifier, Compiled, logits_function
from resnet_jax.inference.evaluate import evaluate_trained, output_of_labels
from resnet_jax.inference.trained import with_class_names

pytestmark = pytest.mark.usefixtures("optimized")

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def data(image_folder):
    return DataConfig(name=f"folder:{image_folder}")


def test_a_network_that_sees_colours_is_right(colour_sighted, data):
    measures = evaluate_trained(colour_sighted, data, "test", batch_size=4)
    assert (measures.count, measures.expected, measures.top1, measures.top5) == (15, 15, 15, 15)
    assert [(c.name, c.count, c.top1) for c in measures.classes] == [
        ("blue", 7, 7),
        ("green", 5, 5),
        ("red", 3, 3),
    ]
    assert 0 < measures.calibration_error < 0.1


def test_the_batch_size_changes_nothing(trained, data):
    one, many = (
        json.loads(evaluate_trained(trained, data, "test", batch_size=size).to_json())
        for size in (4, 64)
    )
    for name in ("loss", "calibration_error"):
        assert one.pop(name) == pytest.approx(many.pop(name), rel=1e-5)
    assert one == many
    assert one["count"] == 15


def test_evaluation_is_compiled_once(trained, data, monkeypatch):
    made = []

    def compiled(*arguments, **options):
        made.append(Compiled(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(evaluate, "Compiled", compiled)
    evaluate_trained(trained, data, "test", batch_size=4)  # 15 images: the last batch is not full
    assert [each.compilations for each in made] == [1]


def test_flipping_averages_the_logits_of_both_sides(trained):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    plain, state = logits_function(trained)
    flipped, _ = logits_function(trained, tta="flip")
    expected = (plain(state, images) + plain(state, images[:, :, ::-1])) / 2
    np.testing.assert_allclose(flipped(state, images), expected, rtol=1e-6)
    assert not np.allclose(plain(state, images), expected, rtol=1e-3)


def test_an_unknown_augmentation_is_refused(trained):
    with pytest.raises(ConfigError, match="tta='tencrop' is unknown"):
        logits_function(trained, tta="tencrop")


def test_bad_images_are_not_counted(colour_sighted, data, image_folder, tmp_path):
    (image_folder / "test" / "red" / "0.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match="no image"):
        evaluate_trained(colour_sighted, data, "test")
    skipping = dataclasses.replace(data, on_error="skip")
    measures = evaluate_trained(colour_sighted, skipping, "test", workdir=tmp_path)
    assert (measures.count, measures.expected) == (14, 15)
    assert (tmp_path / "bad_examples.jsonl").is_file()


def test_labels_find_their_outputs_by_name_in_any_order(trained):
    named = with_class_names(trained, ("red", "green", "blue"))
    assert output_of_labels(named, ("blue", "red"), origin="x").tolist() == [2, 0]
    unnamed = dataclasses.replace(trained, inputs=trained.inputs.named(None))
    assert output_of_labels(unnamed, ("x", "y", "z"), origin="x").tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match=r"tiny has no class 'violet' of x\.") as caught:
        output_of_labels(named, ("red", "violet", "blue"), origin="x")
    assert "--by-position" in str(caught.value)
    by_position = output_of_labels(named, ("a", "b", "c"), origin="x", by_position=True)
    assert by_position.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="2 classes and tiny 3 outputs"):
        output_of_labels(unnamed, ("x", "y"), origin="x")


def test_one_program_serves_every_batch(trained):
    classify = Classifier(trained, batch_size=4)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
    whole = classify(images)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-6)
    for count in (1, 2, 3):
        np.testing.assert_array_equal(classify(images[:count]), whole[:count])
    assert classify.compilations == 1
    with pytest.raises(ConfigError, match="5 images do not fit"):
        classify(np.zeros((5, 8, 8, 3), np.uint8))


def test_batches_without_rows_are_refused(trained):
    with pytest.raises(ConfigError, match="batch_size=0"):
        Compiled(lambda state, batch: batch, {}, batch_size=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "right"),
    [("resnet20", "resnet20-12fca82f.th", 8103), ("resnet32", "resnet32-d509ac18.th", 8256)],
)
def test_published_cifar_networks_reach_their_accuracy(shared_data, capsys, name, file, right):
    archive = shared_data / "data" / "cifar10_jpeg.zip"
    weights = shared_data / "data" / "cifar_resnet_weights" / file
    if not (archive.is_file() and weights.is_file()):
        pytest.skip(f"{archive} or {weights} is missing")
    with pytest.raises(SystemExit) as caught:
        main(["eval", f"--model={name}", f"--weights={weights}", f"--data=zip:{archive}", "--json"])
    assert caught.value.code == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["count"], values["expected"]) == (10_000, 10_000)
    assert abs(values["top1"] - right) <= 2
    assert tuple(entry["name"] for entry in values["classes"]) == CLASSES

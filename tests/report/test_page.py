import base64
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from resnet_jax.errors import ConfigError
from resnet_jax.inference.measures import ClassAccuracy
from resnet_jax.models import ResNetConfig
from resnet_jax.report.data_uris import confusion_uri, image_uri
from resnet_jax.report.findings import examine
from resnet_jax.report.page import Outcome, render, write_report
from resnet_jax.report.runs import read_runs
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import CheckpointConfig, ModelConfig, TrainConfig
from resnet_jax.training.step import state
from resnet_jax.training.workdir.environment import describe_environment, record_environment


@pytest.fixture
def page(make_run, trained, config):
    """Two runs, of which one has a network, and the other neither records nor a checkpoint."""
    other = dataclasses.replace(config, seed=1)
    runs = read_runs([make_run("one"), make_run("<b>two", config=other, records=[])])
    return render(
        runs, [Outcome(runs[0], examine(trained, mistakes=9)), Outcome(runs[1], None, "no <file>")]
    )


def test_the_page_says_everything(page):
    for text in (
        "75.00%",
        "of 8",
        "90.00%",
        "nothing recorded yet",
        "80.00%",
        "<h3>The worst</h3>",
    ):
        assert text in page
    assert "The runs differ in 1 of" in page
    assert '<td class="other">1</td>' in page
    assert page.count("data:image/png;base64,") == 2
    assert "no &lt;file&gt;" in page
    assert "&lt;b&gt;two" in page
    assert "<b>" not in page


def test_the_page_is_self_contained(page):
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\((?!#)|@import|<script|https?://", page)


def test_a_run_without_a_network_is_reported_as_far_as_possible(make_run, tmp_path, records):
    told = []
    roots = [make_run("half", records=records[:2]), make_run("empty", records=[])]
    written = write_report(roots, tmp_path / "new" / "report.html", tell=told.append)
    text = written.read_text()
    assert told == ["evaluating half", "evaluating empty"]
    assert text.count("The network could not be evaluated: no checkpoint") == 2
    assert "unfinished: step 20 of 40" in text


def test_without_evaluation_nothing_is_opened(make_run, tmp_path):
    written = write_report([make_run()], tmp_path / "r.html", evaluate=False)
    text = written.read_text()
    assert "were not evaluated for this page" in text
    assert "The settings that this run changes" in text


def test_the_environments_of_runs_stand_next_to_that_of_the_page(make_run):
    runs = read_runs([make_run("one"), make_run("<i>two")])
    record_environment(runs[0].files, start=0)
    assert "The\nenvironment of &lt;i&gt;two was not recorded" in render(runs, [])
    elsewhere = {**describe_environment(), "step": 20, "devices": "8 x TPU v5 (tpu)"}
    with runs[0].files.environment.open("a") as file:
        file.write(json.dumps(elsewhere) + "\n")
    text = render(runs, [])
    assert '<th scope="col">one, from step 20</th><th scope="col">this page</th>' in text
    assert '<td class="other">8 x TPU v5 (tpu)</td>' in text


def test_bad_requests_are_one_line(make_run, tmp_path):
    with pytest.raises(ConfigError, match="mistakes=-1"):
        write_report([make_run()], tmp_path / "r.html", mistakes=-1)
    with pytest.raises(ConfigError, match=r"is a folder; name a file"):
        write_report([tmp_path / "run"], tmp_path)
    with pytest.raises(ConfigError, match="no run in workdir"):
        write_report([tmp_path], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def decoded(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_many_classes_become_an_image(make_run, trained):
    (run,) = read_runs([make_run()])
    confusion = np.eye(30, dtype=np.int64) * 4
    confusion[3, 7] = 1
    found = examine(trained, mistakes=9)
    classes = tuple(ClassAccuracy(str(number), 4, 4) for number in range(30))
    measures = dataclasses.replace(found.measures, classes=classes)
    findings = dataclasses.replace(found, confusion=confusion, measures=measures)
    text = render([run], [Outcome(run, findings)])
    assert "Confusion matrix of 30 classes" in text
    pixels = np.asarray(decoded(confusion_uri(confusion)))
    assert pixels.shape == (30, 30, 4)
    assert pixels[0, 0, 3] == 255
    assert pixels[0, 1, 3] == 0
    assert pixels[3, 7, 3] == round(255 * (1 / 5) ** 0.5)


def test_small_images_are_lossless_and_large_ones_jpeg():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (8, 8, 1), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(decoded(image_uri(small))), small[..., 0])
    assert image_uri(np.zeros((224, 224, 3), np.uint8)).startswith("data:image/jpeg")


def test_the_page_fits_phones_and_desktops_light_and_dark(page, browser, tmp_path):
    (tmp_path / "page.html").write_text(page)
    address = (tmp_path / "page.html").as_uri()
    grounds = set()
    for width in (400, 1280):
        for dark in (False, True):
            browser.look(address, width=width, dark=dark)
            assert browser.run("document.documentElement.scrollWidth") == width
            grounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
            broken = "[...document.images].filter(image => !image.naturalWidth).length"
            assert browser.run(broken) == 0
            assert browser.run("document.querySelectorAll('figure svg').length") == 4
    assert len(grounds) == 2
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.complaints == []


@pytest.mark.slow
def test_a_run_that_was_trained(tmp_path, monkeypatch):
    tiny = ResNetConfig(depths=(1, 1), widths=(8, 16), stem="cifar", stem_features=8, shortcut="a")
    monkeypatch.setattr(
        state, "model_config", lambda name, **fields: dataclasses.replace(tiny, **fields)
    )
    config = TrainConfig(
        steps=12,
        batch_size=64,
        model=ModelConfig(name="tiny", in_features=1),
        log_every_steps=4,
        checkpoint=CheckpointConfig(every_steps=12),
    )
    train(config, tmp_path / "run")
    text = write_report([tmp_path / "run"], tmp_path / "report.html", mistakes=3).read_text()
    assert re.search(r": \d+ of\s360\. Checkpoint 12\.", text)
    assert "finished" in text
    assert text.count("data:image/png;base64,") == 3

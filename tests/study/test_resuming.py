import dataclasses
import io
import json
import signal

import chex
import numpy as np
import pytest
from rich.console import Console

from resnet_jax.data.sources import load_split
from resnet_jax.errors import ConfigError
from resnet_jax.study.epochs import InterruptedStudyError
from resnet_jax.study.images import open_sources
from resnet_jax.study.plan import StudyRun, make_plan
from resnet_jax.study.progress import StudyProgress


class SignalAt(io.StringIO):
    """Sends this process a signal when a text is written."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, written):
        if self.text in written:
            signal.raise_signal(signal.SIGTERM)
        return super().write(written)


@pytest.mark.slow
@pytest.mark.parametrize("resident", [None, True])
def test_an_interrupted_training_ends_as_if_undisturbed(plan, train, tmp_path, resident):
    data = dataclasses.replace(plan.recipe.data, device_resident=resident)
    plan = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, data=data))
    with pytest.raises(InterruptedStudyError):
        train("resnet8", tmp_path, plan=plan, console=Console(file=SignalAt("epoch 1/2")))
    lines = io.StringIO()
    resumed = train("resnet8", tmp_path, plan=plan, console=Console(file=lines, width=200))
    assert "epoch 1/2" not in lines.getvalue()
    assert "epoch 2/2" in lines.getvalue()
    undisturbed = train("resnet8", tmp_path / "other", plan=plan)
    chex.assert_trees_all_equal(resumed.variables, undisturbed.variables)
    seconds = {"seconds": 0.0}
    assert dataclasses.replace(resumed.training, **seconds) == dataclasses.replace(
        undisturbed.training, **seconds
    )
    again = train("resnet8", tmp_path, plan=plan)
    assert again.training == resumed.training
    chex.assert_trees_all_equal(again.variables, resumed.variables)


def test_a_folder_belongs_to_one_recipe(trained, train, folder, plan):
    trained("resnet8")
    longer = dataclasses.replace(plan, recipe=dataclasses.replace(plan.recipe, epochs=3))
    with pytest.raises(ConfigError, match=r"another config: epochs \(2, not 3\)"):
        train("resnet8", folder, plan=longer)


def test_a_network_of_an_older_version_is_found(train, tmp_path):
    before = train("plain8", tmp_path).training
    record = next(tmp_path.glob("plain8*/config.json"))
    values = json.loads(record.read_text())
    loss = values.pop("loss")  # which was no section
    smoothing = {name: loss[name] for name in ("label_smoothing", "bce_threshold")}
    record.write_text(json.dumps(values | smoothing | {"loss": "cross_entropy"}))
    assert train("plain8", tmp_path).training == before


def test_images_are_halved_with_antialiasing(plan):
    small = open_sources(dataclasses.replace(plan, image_size=4))["test[:100]"]
    whole = load_split(dataclasses.replace(plan.recipe.data, name="digits"), "test[:100]")
    pixels = whole.in_memory().images.astype(float)[:, 1:7, 1:7]
    weights = np.array([1, 3, 3, 1]) / 8  # a triangle that is two pixels of the result wide
    expected = [
        [
            np.einsum("nhwc,h,w->nc", pixels[:, y : y + 4, x : x + 4], weights, weights)
            for x in (0, 2)
        ]
        for y in (0, 2)
    ]
    # Pillow rounds twice, after the rows and after the columns.
    np.testing.assert_allclose(
        small.images[:, 1:3, 1:3], np.transpose(expected, (2, 0, 1, 3)), atol=1.01
    )
    np.testing.assert_array_equal(small.labels, whole.in_memory().labels)


def test_the_time_left_is_that_of_all_networks():
    lines = io.StringIO()
    shallow, deep = StudyRun("resnet20", 0), StudyRun("resnet60", 0)
    progress = StudyProgress([shallow, deep], 4, Console(file=lines, width=200))
    progress.found(shallow, 1)
    assert progress.seconds_left is None
    progress.trained(shallow, seconds=30.0, result="")
    progress.trained(shallow, seconds=10.0, result="")
    lines.truncate(0)
    progress.trained(shallow, seconds=10.0, result="test error 1.00%")
    # Four epochs of three times as many layers, and the first one takes three times as long.
    assert progress.seconds_left == 30.0 * (3 + 1 + 1 + 1)
    assert lines.getvalue().lstrip("\0") == (
        "resnet20-seed0  epoch 4/4  test error 1.00%  0:03:00 left for all networks\n"
    )


def test_a_terminal_shows_a_bar_for_all_networks():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    run = StudyRun("resnet20", 0)
    progress = StudyProgress([run, StudyRun("plain20", 0)], 2, console)
    with progress.showing():
        progress.trained(run, seconds=3661.0, result="")
    assert "25%" in screen.getvalue()
    assert "3:03:03 left for all networks" in screen.getvalue()


def test_a_run_may_go_on_where_the_files_lie_elsewhere():
    here, there = (make_plan("hours", data=f"zip:{place}/c.zip") for place in ("a", "b"))
    assert here.config(here.runs[0]) == there.config(there.runs[0])

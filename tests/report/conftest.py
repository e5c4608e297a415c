import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from resnet_jax.data.config import DataConfig
from resnet_jax.inference.trained import Trained
from resnet_jax.models import ResNetConfig
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.config import ModelConfig, OptimizerConfig, TrainConfig
from resnet_jax.training.recipe.overrides import to_json
from tests.browser import Browser, find_browser

COLOURS = {"blue": (20, 30, 220), "green": (30, 200, 40), "red": (210, 25, 30)}
CONFIG = TrainConfig(
    epochs=4,
    batch_size=10,
    model=ModelConfig(num_classes=10, in_features=3),
    optimizer=OptimizerConfig(learning_rate=0.5),
)


@pytest.fixture
def config():
    return CONFIG


def record(step, **values):
    rate = 50.0 if step == 10 else 100.0
    return {
        "step": step,
        "epoch": step / 10,
        "train_loss": 2.0 / step,
        "train_accuracy": 0.5 + step / 100,
        "learning_rate": 0.1,
        "images_per_second": rate,
        **values,
    }


@pytest.fixture
def records():
    """A run of four epochs of ten steps, recorded once an epoch."""
    found = [record(step) for step in (10, 20, 30, 40)]
    found[1] |= {"validation_loss": 0.4, "validation_accuracy": 0.8}
    found[3] |= {"validation_accuracy": 0.9, "test_accuracy": 0.75, "test_count": 8}
    return found


@pytest.fixture
def make_run(tmp_path, records):
    """Writes the folder of a run without checkpoints."""

    def make_run(name="run", *, config=CONFIG, records=records):
        root = tmp_path / name
        root.mkdir(parents=True)
        (root / "config.json").write_text(to_json(config))
        lines = "".join(f"{json.dumps(line)}\n" for line in records)
        (root / "metrics.jsonl").write_text(lines)
        return root

    return make_run


class Largest(nnx.Module):
    """A network whose logits are the means of blue, green and red."""

    config = ResNetConfig(depths=(1,), widths=(8,), num_classes=3)

    def __call__(self, x):
        return 4 * jnp.mean(x, (1, 2))[:, ::-1]


@pytest.fixture
def trained(tmp_path):
    """A network, and a dataset in which two images are in the wrong folder."""
    rng = np.random.default_rng(0)
    for label, colour, number in [
        *(("blue", "blue", n) for n in range(4)),
        *(("green", "green", n) for n in range(3)),
        ("green", "red", 3),
        ("red", "red", 0),
        ("red", "blue", 1),
    ]:
        strength = 0.5 if (label, colour) == ("green", "red") else 1.0
        pixels = strength * np.array(COLOURS[colour]) + rng.integers(-9, 10, (8, 8, 3))
        path = tmp_path / "images" / "test" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    shutil.copytree(tmp_path / "images" / "test", tmp_path / "images" / "train")
    return Trained(
        Largest(),
        NetworkInputs(size=8, mean=(0.5,), std=(0.25,), class_names=tuple(COLOURS)),
        origin="largest",
        step=40,
        data=DataConfig(name=f"folder:{tmp_path / 'images'}", test_split="test"),
    )


@pytest.fixture
def browser():
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed here")
    with Browser(program) as opened:
        yield opened

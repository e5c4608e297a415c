import dataclasses

import pytest

from resnet_jax.models import ResNetConfig
from resnet_jax.study.plan import make_plan
from resnet_jax.training.step import state

SMALL = ResNetConfig(
    depths=(1, 1, 1),
    widths=(4, 8, 16),
    stem="cifar",
    stem_features=4,
    shortcut="a",
    num_classes=10,
    in_features=1,
)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """Networks of 8, 14 and 20 layers with few channels under the names of the study's."""

    def model_config(name, **fields):
        block = "plain" if name.startswith("plain") else "basic"
        layers = int(name.removeprefix("plain").removeprefix("resnet"))
        depths = ((layers - 2) // 6,) * 3
        return dataclasses.replace(SMALL, block=block, depths=depths, **fields)

    monkeypatch.setattr(state, "model_config", model_config)


@pytest.fixture
def plan():
    """A study that takes seconds: 10 steps a network."""
    return make_plan(
        "digits",
        epochs=2,
        batch_size=128,
        train_split="train[:640]",
        test_split="test[:100]",
        depths=(8, 14),
        probe_images=80,
    )

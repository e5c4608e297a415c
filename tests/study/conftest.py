import dataclasses
import io

import pytest
from rich.console import Console

from resnet_jax.machine.signals import Interruption
from resnet_jax.models import ResNetConfig
from resnet_jax.study.epochs import obtain
from resnet_jax.study.images import open_sources
from resnet_jax.study.plan import StudyRun, make_plan
from resnet_jax.study.progress import StudyProgress
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
        epochs=2,
        batch_size=128,
        train_split="train[:640]",
        test_split="test[:100]",
        depths=(8, 14),
        probe_images=80,
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Networks that several tests use."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def train(plan):
    """Trains a network of the plan, or continues its training."""

    def call(name, folder, *, plan=plan, console=None):
        run = StudyRun(name, plan.seed)
        console = console or Console(file=io.StringIO())
        with Interruption() as interruption:
            return obtain(
                plan.config(run),
                run,
                folder / run.name,
                sources=open_sources(plan),
                progress=StudyProgress([run], plan.recipe.epochs, console),
                interruption=interruption,
            )

    return call


@pytest.fixture
def trained(train, folder):
    """Trains a network of the plan, or takes it from an earlier test."""
    return lambda name: train(name, folder)

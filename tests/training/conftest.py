import dataclasses
import signal

import jax
import numpy as np
import pytest

from resnet_jax.models import ResNetConfig
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.progress import ProgressReport
from resnet_jax.training.recipe.config import (
    CheckpointConfig,
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)
from resnet_jax.training.step import state
from resnet_jax.training.trainer import make_trainer
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, read_records

TINY = ResNetConfig(depths=(1, 1), widths=(8, 16), stem="cifar", stem_features=8, shortcut="a")


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch):
    known = state.model_config

    def model_config(name, **fields):
        tiny = {
            "tiny": TINY,
            "tiny_gn": dataclasses.replace(TINY, norm="group", widths=(32, 32), stem_features=32),
        }
        return dataclasses.replace(tiny[name], **fields) if name in tiny else known(name, **fields)

    monkeypatch.setattr(state, "model_config", model_config)


@pytest.fixture
def config():
    """A run of two epochs over the digits that takes seconds: 20 steps each."""
    return TrainConfig(
        epochs=2,
        batch_size=64,
        model=ModelConfig(name="tiny", num_classes=10, in_features=1),
        optimizer=OptimizerConfig(nesterov=True),
        schedule=ScheduleConfig(warmup_epochs=0.5, warmup_start=0.1),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=0.9),
        log_every_steps=8,
        checkpoint=CheckpointConfig(every_steps=15),
    )


@pytest.fixture
def vary():
    """Replaces fields by dotted names written with two underscores."""

    def vary(config, **changes):
        for path, value in changes.items():
            first, _, rest = path.partition("__")
            value = vary(getattr(config, first), **{rest: value}) if rest else value
            config = dataclasses.replace(config, **{first: value})
        return config

    return vary


@pytest.fixture
def make(config):
    """Builds the compiled parts of a run."""

    def make(chosen=config):
        evaluator = make_evaluator(chosen)
        return evaluator, make_trainer(evaluator)

    return make


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.integers(0, 256, (16, 8, 8, 1), dtype=np.uint8),
        "label": (np.arange(16) % 10).astype(np.int32),
        "mask": np.ones(16, bool),
    }


@pytest.fixture
def copied():
    """Copies a tree to the host, out of the reach of donation."""
    return lambda tree: jax.tree.map(np.array, tree)


@pytest.fixture
def signal_after(monkeypatch):
    """Sends a signal to this process after a number of steps."""

    def arrange(steps, number=signal.SIGTERM):
        left = iter(range(steps - 1, -1, -1))
        advance = ProgressReport.advance

        def counted(self, steps):
            advance(self, steps)
            if any(next(left, None) == 0 for _ in range(steps)):
                signal.raise_signal(number)

        monkeypatch.setattr(ProgressReport, "advance", counted)

    return arrange


@pytest.fixture
def unclocked():
    """Reads the records of a run without what a clock measured."""

    def read(workdir):
        return [
            {name: value for name, value in record.items() if name not in CLOCKED}
            for record in read_records(Workdir(workdir))
        ]

    return read


@pytest.fixture
def outcome(make, copied, unclocked, vary):
    """Reads the last state of a run, its records and its best checkpoint."""

    def read(workdir):
        files = Workdir(workdir)
        config = vary(files.read_config(), data__name="digits")  # whoever opened them
        with Checkpoints(files.checkpoints, config.checkpoint) as checkpoints:
            state = copied(checkpoints.restore(make(config)[1].like()).state)
            return state, unclocked(workdir), checkpoints.best()

    return read

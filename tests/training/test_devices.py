"""The same run on one device and on eight, as real processes."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from resnet_jax.training import setup
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.workdir import Workdir

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# No random changes and small steps: what is left is the rounding of sums in another order.
CALM = [
    "--config.steps=2",
    "--config.optimizer.learning_rate=0.002",
    "--config.schedule.warmup_epochs=0.0",
    "--config.augment.shift=0.0",
    "--config.augment.rotate=0.0",
    "--config.augment.scale=0.0",
]
SCRIPT = pathlib.Path(__file__).with_name("device_run.py")


def start(devices, *words, **variables):
    environment = os.environ | {
        "PYTHONPATH": str(SCRIPT.parents[2]),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process, status=0):
    out, err = process.communicate(timeout=600)
    assert process.returncode == status, err[-3000:]
    return json.loads(out.splitlines()[-1])


def parameters(workdir):
    """Restores onto the one device of this process whatever the run had."""
    files = Workdir(workdir)
    config = files.read_config()
    trainer = setup.make_trainer(config, setup.make_evaluator(config))
    with Checkpoints(files.checkpoints, config.checkpoint) as checkpoints:
        state = checkpoints.restore(trainer.like()).state
    return jax.device_get((state.params, state.batch_stats, state.average))


def assert_close(one, other):
    for left, right in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-5 * np.abs(left).max())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone")
    assert finish(start(1, "train", workdir, *CALM))["devices"] == 1
    return parameters(workdir)


@pytest.mark.parametrize("words", [[], ["--config.mesh.fsdp=true"]], ids=["whole", "fsdp"])
def test_eight_devices_reach_the_parameters_of_one(tmp_path, alone, words):
    assert finish(start(8, "train", tmp_path, *CALM, *words))["devices"] == 8
    assert_close(parameters(tmp_path), alone)


def test_a_step_moves_gradients_and_statistics_between_devices_and_nothing_more():
    counted = finish(start(8, "count"))
    moved = counted["collectives"]
    assert set(moved) == {"all-reduce"}
    # Forward and backward each reduce two numbers a channel; loss, hits and count are a few bytes.
    assert counted["params"] <= moved["all-reduce"] <= counted["params"] + 2 * counted["stats"] + 64

"""The same run on one device and on many, as real processes."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from resnet_jax.training import setup
from resnet_jax.training.checkpoints import Checkpoints
from resnet_jax.training.interruption import RESUME_STATUS
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


def start_pair(*words):
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        port = str(listener.getsockname()[1])
    return [start(2, *words, PROCESSES="2", NUMBER=str(number), PORT=port) for number in range(2)]


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


def test_two_processes_reach_the_parameters_of_one_and_one_writes_the_records(tmp_path, alone):
    for process in start_pair("train", tmp_path, *CALM):
        assert finish(process) == {"status": "finished", "step": 2, "devices": 4}
    assert_close(parameters(tmp_path), alone)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))


def test_a_step_moves_gradients_and_statistics_between_devices_and_nothing_more():
    counted = finish(start(8, "count"))
    moved = counted["collectives"]
    assert set(moved) == {"all-reduce"}
    # Forward and backward each reduce two numbers a channel; loss, hits and count are a few bytes.
    assert counted["params"] <= moved["all-reduce"] <= counted["params"] + 2 * counted["stats"] + 64


def records(workdir):
    file = workdir / "metrics.jsonl"
    return file.read_text().count("\n") if file.is_file() else 0


def await_records(workdir, processes):
    end = time.monotonic() + 300
    while records(workdir) < 2:
        assert time.monotonic() < end
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)


LONG = [
    "--config.steps=1000000",
    "--config.log_every_steps=5",
    "--config.data.device_resident=false",
]


def test_a_signal_to_one_process_stops_and_saves_both_at_one_step(tmp_path):
    pair = start_pair("train", tmp_path, *LONG)
    await_records(tmp_path, pair)
    pair[1].send_signal(signal.SIGTERM)
    results = [finish(process, RESUME_STATUS) for process in pair]
    assert results[0] == results[1]
    assert results[0]["status"] == "interrupted"
    assert (tmp_path / "checkpoints" / str(results[0]["step"])).is_dir()


def test_a_process_that_dies_brings_the_other_down_with_a_message(tmp_path):
    pair = start_pair("train", tmp_path, *LONG)
    await_records(tmp_path, pair)
    pair[1].kill()
    begin = time.monotonic()
    _, err = pair[0].communicate(timeout=300)
    pair[1].communicate()
    assert pair[0].returncode not in (0, RESUME_STATUS)
    assert time.monotonic() - begin < 200
    assert err.strip()

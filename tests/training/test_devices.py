"""The same run on one device and on many, as real processes."""

import dataclasses
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

from resnet_jax.machine.signals import RESUME_STATUS
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.config import MeshConfig
from resnet_jax.training.trainer import make_trainer
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.training.workdir.stored import StoredCheckpoints

# No process waits for another as long as this: what takes longer hangs.
pytestmark = [pytest.mark.slow, pytest.mark.processors, pytest.mark.timeout(600)]
PATIENCE = 240

# Without random changes and with small steps, what is left is the rounding of sums in another
# order. A constant rate makes runs of any length share their compiled step.
CALM = [
    "--config.model.name=resnet8",
    "--config.optimizer.learning_rate=0.002",
    "--config.schedule.name=constant",
    "--config.schedule.warmup_epochs=0.0",
    "--config.augment.shift=0.0",
    "--config.augment.rotate=0.0",
    "--config.augment.scale=0.0",
    "--config.data.validation_split=none",
]
SHORT = ["--config.steps=2"]
ENDLESS = [
    "--config.steps=1000000",
    "--config.log_every_steps=5",
    "--config.checkpoint.every_steps=5",
]
HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]


def start(devices, script, *words, **variables):
    flags = [
        os.environ.get("XLA_FLAGS", ""),  # such as an older instruction set
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",  # compiles in less time
    ]
    if jax.__version_info__ < (0, 11, 1):  # later ones know no such flag
        flags.append("--xla_cpu_use_fusion_emitters=false")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join(flags),
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def start_train(devices, workdir, *words, of=None, **variables):
    """Starts `train.py`; `of` is how many devices there are in all processes."""
    mesh = f"--config.mesh.devices={of or devices}"
    words = [f"--workdir={workdir}", mesh, *CALM, *words]
    return start(devices, ROOT / "train.py", *words, **variables)


@pytest.fixture
def pair(tmp_path_factory):
    """Starts two processes of two devices each, which share `workdir` at most; ends them."""
    started = []

    def pair(workdir, *words):
        with socket.socket() as listener:
            listener.bind(("localhost", 0))
            port = listener.getsockname()[1]
        meeting = [f"--coordinator=localhost:{port}", "--processes=2"]
        for number in range(2):
            own = [*meeting, f"--process={number}"]
            own_disk = str(tmp_path_factory.mktemp("disk"))
            started.append(start_train(2, workdir, *words, *own, of=4, TMPDIR=own_disk))
        return started[-2:]

    yield pair
    for process in started:
        process.kill()
        process.communicate()


def finish(process, status=0):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status, err[-3000:]
    return out, err


def movement(workdir):
    """Returns how far each array of a run has moved from its first value.

    Restores onto the one device of this process, whatever the run had.
    """
    files = Workdir(workdir)
    config = dataclasses.replace(files.read_config(), mesh=MeshConfig())
    trainer = make_trainer(make_evaluator(config))
    state = StoredCheckpoints(files.checkpoints).restore(trainer.like()).state
    before, after = (
        (state.params, state.batch_stats, state.average) for state in (trainer.first_state(), state)
    )
    return jax.tree.map(lambda old, new: np.asarray(new - old), before, after)


def assert_same_movement(one, other):
    """Compares two runs, array by array, relative to how far each array has moved.

    In float32 sums in another order leave 1e-5 of that (SSE4.2). Where one input of a ReLU lies
    within rounding of zero, its gradient comes or goes, which leaves up to 0.5% (AVX2 and AVX-512
    of an AMD EPYC): a tenth of the bound. Gradients or statistics of some of the devices leave a
    third or more. That only rounding differs is a test in double precision, below.
    """
    for left, right in zip(*map(jax.tree.leaves, (one, other)), strict=True):
        assert np.linalg.norm(left - right) < 0.05 * np.linalg.norm(right)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone")
    finish(start_train(1, workdir, *SHORT))
    return movement(workdir)


@pytest.mark.parametrize("words", [[], ["--config.mesh.fsdp=true"]], ids=["whole", "fsdp"])
def test_eight_devices_reach_the_parameters_of_one(tmp_path, alone, words):
    finish(start_train(8, tmp_path, *SHORT, *words))
    assert_same_movement(movement(tmp_path), alone)


def test_two_processes_reach_the_parameters_of_one_and_one_speaks(tmp_path, alone, pair):
    first, second = [finish(process) for process in pair(tmp_path, *SHORT)]
    assert_same_movement(movement(tmp_path), alone)
    assert "counted 360 of 360 images" in first[0]
    assert "images" not in second[0]
    assert [record["step"] for record in read_records(Workdir(tmp_path))] == [2]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    ("bucket", "words"),
    [("gs", []), ("s3", ["--config.mesh.fsdp=true"])],
    ids=["whole", "fsdp"],
    indirect=["bucket"],
)
def test_two_processes_without_a_shared_folder_reach_the_parameters_of_one(
    bucket, words, alone, pair
):
    run = bucket / "run"
    first, second = [
        finish(process)
        for process in pair(run, "--config.checkpoint.every_steps=1", *SHORT, *words)
    ]
    assert_same_movement(movement(run), alone)
    assert "counted 360 of 360 images" in first[0]
    assert "images" not in second[0]
    assert [record["step"] for record in read_records(Workdir(run))] == [2]
    # Each array is complete, whoever wrote it, and nothing else is left.
    assert {file.path.parts[2] for file in run.files()}.isdisjoint({"parts", "claims"})
    assert StoredCheckpoints(run / "checkpoints").steps() == [1, 2]
    # All of them read it again.
    again = [finish(process) for process in pair(run, *SHORT, *words)]
    assert "is finished: nothing to do" in again[0][0]


@pytest.fixture(scope="module")
def measured():
    out, _ = finish(start(8, HERE / "eight_devices.py"))
    return json.loads(out.splitlines()[-1])


def test_a_step_moves_gradients_and_statistics_between_devices_and_nothing_more(measured):
    moved = measured["collectives"]
    assert set(moved) == {"all-reduce"}
    # Forward and backward each reduce two numbers a channel; loss, hits and count are a few bytes.
    most = measured["params"] + 2 * measured["stats"] + 64
    assert measured["params"] <= moved["all-reduce"] <= most


def test_a_loop_over_images_moves_nothing_between_devices(measured):
    kernel = 4 * 3 * 3 * 16 * 16
    assert measured["large"] == {"moved": {"all-reduce": kernel}, "in_loop": 0}


def test_a_kernel_that_devices_share_gets_the_sum_of_their_gradients(measured):
    assert measured["apart_in_shard_map"] < 1e-5  # sums in another order


def test_in_double_precision_eight_devices_augment_and_train_as_one(measured):
    # 1e-14 is what the order of sums does. In float32 the same steps are percents apart after ten:
    # training is chaotic, and a product and a sum that become one instruction differ by a bit.
    assert measured["apart"] < 1e-12


def recorded(workdir):
    return max([record["step"] for record in read_records(Workdir(workdir))], default=0)


def await_progress(workdir, processes, beyond):
    """Waits until the run has recorded a step beyond this one."""
    end = time.monotonic() + PATIENCE
    while recorded(workdir) <= beyond:
        assert time.monotonic() < end
        for process in processes:
            assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.1)


def saved(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*[0-9]"))


def test_a_pair_stops_at_one_step_resumes_despite_damage_and_ends_together(tmp_path, pair):
    both = pair(tmp_path, *ENDLESS)
    await_progress(tmp_path, both, 5)
    both[1].send_signal(signal.SIGINT)
    (out, _), _ = [finish(process, RESUME_STATUS) for process in both]
    last = saved(tmp_path)[-1]
    assert f"interrupted: saved step {last} of 1000000" in out

    damaged = next((tmp_path / "checkpoints" / str(last) / "live").rglob("manifest.ocdbt"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    both = pair(tmp_path, *ENDLESS)
    await_progress(tmp_path, both, last)
    assert (tmp_path / "checkpoints" / f"broken-{last}").is_dir()
    both[1].kill()
    out, err = finish(both[0], 2)
    assert f"checkpoint {last} cannot be read and was moved aside" in out
    assert err.splitlines()[-1].startswith("error: process 0 of 2 lost another one:"), err

    # What was recorded after the last save is recorded again.
    last = recorded(tmp_path)
    both = pair(tmp_path, *ENDLESS)
    await_progress(tmp_path, both, last)
    # Process 0 holds the coordination. When that is gone JAX itself ends the others, unless a
    # collective failed before.
    both[0].kill()
    _, err = both[1].communicate(timeout=PATIENCE)
    assert (both[1].returncode, True) in {
        (2, "process 1 of 2 lost another one" in err),
        (-signal.SIGABRT, "another task died" in err),
    }, err

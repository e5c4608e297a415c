"""Runs that are stopped and killed, in processes of their own."""

import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest

from resnet_jax.machine.signals import RESUME_STATUS
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.recipe.overrides import parse_overrides
from resnet_jax.training.workdir.claim import claim
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, read_records

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 200  # less than the time for which the threads of a failed save wait for each other
# A constant rate makes runs of any length share their compiled step.
QUICK = [
    "--config.model.name=resnet8",
    "--config.data.validation_split=none",
    "--config.schedule.name=constant",
    "--config.schedule.warmup_epochs=0.0",
]
ENDLESS = [
    *QUICK,
    "--config.steps=1000000",
    "--config.log_every_steps=5",
    "--config.checkpoint.every_steps=1000",
]


def start(script, *words):
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def finish(process, status):
    with process:  # closes its pipes, whatever happens
        try:
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == status, err[-3000:]
    return out, err


def recorded(workdir):
    return max([record["step"] for record in read_records(Workdir(workdir))], default=0)


def stop(process, workdir, number, *, beyond):
    """Sends a signal when the run has recorded a step beyond one; returns the step it saved."""
    end = time.monotonic() + PATIENCE
    while recorded(workdir) <= beyond and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = finish(process, RESUME_STATUS)
    assert re.fullmatch(r"\nfinishing this step; press (Ctrl-C|again) to leave now\n", err)
    (line,) = [line for line in out.splitlines() if line.startswith("interrupted:")]
    step = int(line.split()[3])
    assert line == f"interrupted: saved step {step} of 1000000 in {workdir}"
    assert (workdir / "checkpoints" / str(step)).is_dir()
    return step, out


def fail_to_save(process):
    """Returns the one line that a run which cannot save says."""
    _, err = finish(process, 2)
    assert err.count("\n") == 1
    assert err.startswith("error: could not save a checkpoint in ")
    return err


def test_a_run_resumes_after_signals_and_a_full_disk(tmp_path):
    first = start("train.py", f"--workdir={tmp_path}", "--profile", *ENDLESS)
    step, _ = stop(first, tmp_path, signal.SIGTERM, beyond=15)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))

    often = "--config.checkpoint.every_steps=5"
    full = start("train.py", f"--workdir={tmp_path}", *ENDLESS, often)
    # A limit on the size of files stands for the disk: writes beyond it fail.
    resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
    assert f"(complete so far: {step})" in fail_to_save(full)

    last = start("train.py", f"--workdir={tmp_path}", *ENDLESS)
    _, out = stop(last, tmp_path, signal.SIGINT, beyond=recorded(tmp_path))
    assert f"resuming at step {step} of" in out
    steps = [record["step"] for record in read_records(Workdir(tmp_path))]
    assert steps == list(range(5, steps[-1] + 1, 5))


def test_a_killed_extension_ends_as_if_nothing_had_happened(tmp_path):
    words = [*QUICK, "--config.log_every_steps=5", "--config.checkpoint.every_steps=5"]
    longer = [*words, "--config.steps=60", "--extend=cosine:0.1"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start("train.py", f"--workdir={whole}", *words, "--config.steps=20"), 0)
    shutil.copytree(whole, killed)
    finish(start("train.py", f"--workdir={whole}", *longer), 0)
    process = start("train.py", f"--workdir={killed}", *longer)
    end = time.monotonic() + PATIENCE
    while recorded(killed) <= 30 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.kill()
    finish(process, -signal.SIGKILL)
    out, _ = finish(start("train.py", f"--workdir={killed}", *longer), 0)
    assert "extended to" not in out  # it was, before
    found, expected = (
        [record | dict.fromkeys(CLOCKED) for record in read_records(Workdir(folder))]
        for folder in (killed, whole)
    )
    assert found == expected
    rates = {record["step"]: record["learning_rate"] for record in found}
    assert rates[20] == pytest.approx(0.1)
    assert rates[25] == pytest.approx(0.01 * (1 + math.cos(math.pi * 4 / 40)) / 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that not even root can write")
def test_checkpoints_that_cannot_be_written_are_one_line_and_no_wait(tmp_path):
    words = [*ENDLESS, "--config.checkpoint.every_steps=5"]
    config = parse_overrides(load_recipe(str(ROOT / "configs" / "digits.py")), words)
    claim(Workdir(tmp_path), config, NetworkInputs())
    (tmp_path / "checkpoints").symlink_to("/sys/kernel")
    assert "(complete so far: none)" in fail_to_save(
        start("train.py", f"--workdir={tmp_path}", *words)
    )


def soak(tmp_path, *words):
    result = tmp_path / "result.json"
    words = ["--steps=45", "--checkpoint_every=3", "--spread=6", f"--json={result}", *words]
    process = start("benchmarks/soak.py", *words, *QUICK)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return json.loads(result.read_text())


def test_kills_at_random_moments_change_nothing(tmp_path):
    # benchmarks/soak.py does it more often.
    values = soak(tmp_path, "--kills=5")
    assert (values["kills"], values["equal"], values["records_equal"]) == (5, True, True)
    assert values["kills_while_saving"] > 0


def test_kills_of_a_run_in_a_bucket_change_nothing(bucket_servers, tmp_path):
    # benchmarks/soak.py --bucket does it ten times.
    values = soak(tmp_path, "--kills=2", "--bucket=s3")
    assert (values["kills"], values["equal"], values["records_equal"]) == (2, True, True)

"""Runs in buckets, against servers of S3 and of Cloud Storage."""

import dataclasses
import io
import pathlib
import re
import shutil
import signal
import threading
from collections.abc import Callable

import chex
import pytest
from flax import nnx
from PIL import Image
from rich.console import Console

from resnet_jax import cli, load, save
from resnet_jax.buckets import BucketPath, download_files
from resnet_jax.inference.trained import open_trained
from resnet_jax.training.hooks import Hook
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import CheckpointConfig
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records
from resnet_jax.training.workdir.remote import mirror
from resnet_jax.training.workdir.stored import CheckpointError, StoredCheckpoints
from tests.buckets import new_bucket


def names(folder):
    if isinstance(folder, BucketPath):
        return {str(file.path.relative_to(folder)) for file in folder.files()}
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def copied(folder, target):
    """Copies a run from a bucket, as `gcloud storage cp -r` does."""
    download_files({name: folder / name for name in names(folder)}, target)
    return target


def state_of(folder, make, config):
    """Reads the last state of a run."""
    return StoredCheckpoints(Workdir(folder).checkpoints).restore(make(config)[1].like()).state


def measured(folder):
    """Reads the records of a run without what is measured in seconds."""
    records = read_records(Workdir(folder))
    times = ("images_per_second", "data_seconds")
    return [{k: v for k, v in record.items() if k not in times} for record in records]


def test_a_run_in_a_bucket_is_the_run_on_the_disk(bucket, tmp_path, config, make):
    config = dataclasses.replace(config, checkpoint=CheckpointConfig(every_steps=9, keep_latest=2))
    local, remote = tmp_path / "local", bucket / "runs" / "remote"
    assert train(config, local).status == train(config, str(remote)).status == "finished"
    assert train(config, remote).status == "before"
    chex.assert_trees_all_equal(state_of(remote, make, config), state_of(local, make, config))
    assert measured(remote) == measured(local)
    assert StoredCheckpoints(Workdir(remote).checkpoints).steps() == [36, 40]
    varying = ("/d/", "tensorboard/", "digests/27.json")  # the last is left of what was removed
    fixed = {name for name in names(local) if not any(part in name for part in varying)}
    assert fixed - names(remote) == {"running.lock"}
    assert any(name.startswith("tensorboard/events") for name in names(remote))
    assert not any(name.startswith(("claims/", "parts/")) for name in names(remote))
    # A copy is a local run.
    copy = copied(remote, tmp_path / "copy")
    assert train(config, copy).status == "before"
    chex.assert_trees_all_equal(state_of(copy, make, config), state_of(local, make, config))


@pytest.fixture(scope="module")
def trained(bucket_servers, tmp_path_factory):
    """A finished run in a bucket, and its copy on the disk."""
    run = new_bucket(bucket_servers, "gs") / "run"
    words = ["--config=digits", "--config.model.name=resnet8", "--config.steps=30"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", *words, f"--workdir={run}"])
    assert ended.value.code == 0
    return run, copied(run, tmp_path_factory.mktemp("copy") / "run")


def said(capsys, *words):
    """Runs a command and returns what it prints, without the place of the run."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    return out


@pytest.mark.slow
def test_commands_read_a_run_from_a_bucket(trained, tmp_path, capsys):
    run, copy = trained
    Image.new("L", (8, 8), 99).save(tmp_path / "grey.png")
    image = run.parent / "images" / "grey.png"
    image.upload(tmp_path / "grey.png")
    for words in (
        ["eval", "--model={}", "--json"],
        ["eval", "--model={}", "--step=best", "--json"],
        ["predict", str(image.parent), "--model={}", "--json"],
        ["export", "{}", f"{run.parent}/out/net.safetensors"],
        ["export", "{}", f"{run.parent}/out/net.stablehlo"],
        ["report", "{}", f"--out={run.parent}/report.html"],
        ["explain", str(image), "--model={}", f"--out={run.parent}/cams"],
    ):
        remote = said(capsys, *(word.format(run) for word in words))
        local = said(capsys, *(word.format(copy) for word in words))
        assert remote.replace(str(run), str(copy)) == local or words[0] == "report"
    assert names(run.parent / "out") == {
        "net.safetensors",
        "net.stablehlo",
        "net.stablehlo.json",
    }
    assert "resnet8" in (run.parent / "report.html").read_text()
    assert (run.parent / "cams" / "grey.cam.png").is_file()


@pytest.mark.slow
def test_weights_and_a_run_in_a_bucket_start_other_runs(trained, tmp_path, config, vary):
    run, copy = trained
    weights = run.parent / "net.safetensors"
    chex.assert_trees_all_equal(
        nnx.state(open_trained(str(run)).model), nnx.state(open_trained(copy).model)
    )
    save(open_trained(str(run)).model, str(weights))
    assert load(str(weights)).config == open_trained(copy).model.config
    for number, place in enumerate((run, copy)):
        words = ["--config=digits", "--config.model.name=resnet8", "--config.steps=3"]
        words += [f"--config.finetune.weights={place}", f"--workdir={tmp_path / str(number)}"]
        with pytest.raises(SystemExit):
            cli.main(["train", *words])
    assert measured(tmp_path / "0") == measured(tmp_path / "1")


@pytest.mark.slow
def test_a_step_costs_no_request(bucket, proxy, config, vary):
    # One checkpoint, at the end of two epochs or four.
    counts = []
    for epochs in (2, 4):
        longer = vary(config, epochs=epochs, checkpoint__every_steps=1000)
        with proxy.counting() as count:
            train(longer, bucket / str(epochs))
        counts.append(count.total())
    assert counts[0] == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_damaged_checkpoint_in_a_bucket_is_set_aside(bucket, tmp_path, config, make, vary):
    config = vary(config, checkpoint__every_steps=20)
    run = bucket / "run"
    train(config, run)
    (file,) = [
        file for file in (run / "checkpoints" / "40").files() if "metrics/m" in str(file.path)
    ]
    file.path.write_bytes(b"{}")
    told = io.StringIO()
    train(config, run, console=Console(file=told, width=500))
    assert "checkpoint 40 cannot be read and was moved aside: metrics/metrics changed" in (
        told.getvalue()
    )
    assert "resuming at step 20" in told.getvalue()
    assert (run / "checkpoints" / "broken-40" / "metrics" / "metrics").read_bytes() == b"{}"
    train(config, tmp_path / "calm")
    chex.assert_trees_all_equal(
        state_of(run, make, config), state_of(tmp_path / "calm", make, config)
    )


class Listener(io.StringIO):
    """A console's file that acts when a line has some words."""

    def __init__(self, words, act):
        super().__init__()
        self._words, self._act = words, act

    def write(self, text):
        if self._words in text:
            self._act()
        return super().write(text)


@dataclasses.dataclass
class AtCheckpoint(Hook):
    """A hook that acts at the first checkpoint."""

    act: Callable[[], None]

    def checkpoint(self, step, path):
        self.act()
        self.act = lambda: None


@pytest.fixture
def calm(tmp_path, config, make):
    """The last state of an undisturbed run."""
    train(config, tmp_path / "calm")
    return state_of(tmp_path / "calm", make, config)


@pytest.mark.slow
def test_expired_credentials_are_named_and_the_run_is_saved_when_they_are_back(
    bucket, proxy, config, make, calm, monkeypatch
):
    monkeypatch.setattr(mirror, "_AGAIN", 0.2)

    def expire():
        proxy.refuse = lambda headers: True

    def renew():
        proxy.refuse = lambda headers: False

    told = Listener("the run goes on, and saves there as soon as it can", renew)
    run = bucket / "run"
    train(config, run, hooks=[AtCheckpoint(expire)], console=Console(file=told, width=500))
    assert "the credentials are refused or expired; run `" in told.getvalue()
    assert f"workdir {run} can be written again: all is saved there" in told.getvalue()
    chex.assert_trees_all_equal(state_of(run, make, config), calm)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_run_goes_on_while_the_bucket_is_unavailable_for_20_seconds(
    bucket, proxy, config, make, calm
):
    def fail():
        proxy.fault = 503
        threading.Timer(20, setattr, (proxy, "fault", None)).start()

    run = bucket / "run"
    result = train(config, run, hooks=[AtCheckpoint(fail)])
    assert result.status == "finished"
    chex.assert_trees_all_equal(state_of(run, make, config), calm)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_a_signal_saves_in_the_bucket_and_the_run_resumes_there(bucket, config, make, calm):
    run, told = bucket / "run", io.StringIO()

    def stop():
        signal.raise_signal(signal.SIGTERM)

    result = train(config, run, hooks=[AtCheckpoint(stop)], console=Console(file=told, width=500))
    assert result.status == "interrupted"
    assert f"interrupted: saved step {result.step} of 40 in {run}" in told.getvalue()
    assert StoredCheckpoints(run / "checkpoints").steps()[-1] == result.step
    assert train(config, run).status == "finished"
    chex.assert_trees_all_equal(state_of(run, make, config), calm)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_a_run_in_a_bucket_is_extended(bucket, tmp_path, config, make, vary):
    places = (bucket / "run", tmp_path / "run")
    longer = vary(config, epochs=3)
    for place in places:
        train(config, place)
        assert train(longer, place, extend="constant").step == 60
    remote, local = (state_of(place, make, longer) for place in places)
    chex.assert_trees_all_equal(remote, local)
    assert measured(places[0]) == measured(places[1])


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_what_a_bucket_never_takes_is_kept_on_this_machine(
    bucket, proxy, config, make, monkeypatch
):
    monkeypatch.setattr(mirror, "_AGAIN", 0.1)
    monkeypatch.setattr(mirror, "_LAST_WAIT", 0.3)

    def expire():
        proxy.refuse = lambda headers: True

    with pytest.raises(CheckpointError, match="the whole run is kept in ") as caught:
        train(config, bucket / "run", hooks=[AtCheckpoint(expire)])
    kept = re.search(r"kept in (\S+):", str(caught.value))[1]
    assert StoredCheckpoints(pathlib.Path(kept, "checkpoints")).steps()[-1] == 40
    shutil.rmtree(kept)

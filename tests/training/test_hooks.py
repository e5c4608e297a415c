"""Hooks of a run, and the records that people keep in Weights & Biases and MLflow."""

import http.server
import io
import json
import pathlib
import threading

import pytest
from rich.console import Console

from resnet_jax.errors import ConfigError
from resnet_jax.training.hooks import Hook, MlflowHook, RunStart, WandbHook, open_trackers
from resnet_jax.training.loop import train
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import read_records


class Diary(Hook):
    """Writes down what it is told."""

    def __init__(self, *, fail_at=None):
        self.told, self.records, self.fail_at = [], [], fail_at

    def start(self, run):
        assert isinstance(run.config, TrainConfig)
        self.told.append(("start", run.step, run.total_steps))

    def record(self, step, values):
        if step == self.fail_at:
            raise RuntimeError("the diary is full")
        self.told.append(("record", step))
        self.records.append({"step": step, **values})

    def checkpoint(self, step, path):
        self.told.append(("checkpoint", step))
        assert path.name == str(step)

    def end(self, status, record):
        self.told.append(("end", status, record.get("step")))


def run(config, workdir, *hooks):
    console = Console(file=io.StringIO(), width=200)
    return train(config, workdir, hooks=hooks, console=console)


@pytest.mark.slow
def test_hooks_are_told_of_everything_and_of_the_same_steps_after_a_failure(tmp_path, config, vary):
    config = vary(config, log_every_steps=20)
    diary, failing = Diary(), Diary(fail_at=40)
    with pytest.raises(RuntimeError, match="the diary is full"):
        run(config, tmp_path / "run", failing)
    expected = [("record", 20), ("checkpoint", 15), ("checkpoint", 30), ("end", "failed", 40)]
    assert failing.told[0] == ("start", 0, 40)
    assert sorted(failing.told[1:], key=str) == sorted(expected, key=str)
    # Step 30 was saved; the hooks of the next call begin there.
    run(config, tmp_path / "run", diary)
    assert diary.told == [
        ("start", 30, 40),
        ("record", 40),
        ("checkpoint", 40),
        ("end", "finished", 40),
    ]
    assert diary.records == read_records(Workdir(tmp_path / "run"))[-1:]


def test_trackers_have_names_and_extras(monkeypatch):
    with pytest.raises(ConfigError, match=r"no tracker is called 'wand'. Did you mean 'wandb'"):
        open_trackers(["wand"])
    assert open_trackers([]) == []


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_without_its_extra_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=rf"pip install 'resnet-jax\[{name}\]'"):
        open_trackers([name])


class _Refuses(http.server.BaseHTTPRequestHandler):
    """Answers every request as a server does that does not know the key."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_error(401)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")  # wandb keeps the first address that a process gives it
def refusing():
    """Starts a server that lets nobody in, and returns its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "wandb: .*; run `wandb login`, or set WANDB_MODE=offline"),
        ("too-short", "wandb: .*; run `wandb login`"),
        ("0" * 40, "wandb: .*401.*; run `wandb login`"),
    ],
)
def test_a_login_that_fails_is_one_line_and_leaves_the_folder_free(
    key, message, refusing, tmp_path, config, vary, monkeypatch
):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_BASE_URL", refusing)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(ConfigError, match=message) as caught:
        run(config, tmp_path / "run", WandbHook())
    assert "\n" not in str(caught.value)
    # The corrected command may change the recipe: nothing was trained.
    assert run(vary(config, steps=2), tmp_path / "run").status == "finished"


class Closing(Hook):
    """Does something when the first record is written."""

    def __init__(self, action):
        self.action = action

    def record(self, step, values):
        self.action()
        self.action = lambda: None


def lost(service, caplog):
    return [one for one in caplog.messages if one.startswith(f"{service} has lost this run, which")]


@pytest.mark.slow
def test_a_run_goes_on_when_wandb_is_lost(tmp_path, config, vary, caplog):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    hooks = Closing(lambda: wandb.finish()), WandbHook(mode="offline")
    assert run(vary(config, log_every_steps=20), tmp_path / "run", *hooks).status == "finished"
    assert len(lost("wandb", caplog)) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, about MLflow
def test_a_run_goes_on_when_mlflow_is_lost(tmp_path, config, vary, caplog):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="the extra mlflow is not installed")
    file = tmp_path / "mlflow.db"
    hooks = (
        Closing(lambda: file.write_bytes(b"damaged")),
        MlflowHook(tracking_uri=f"sqlite:///{file}"),
    )
    assert run(vary(config, log_every_steps=20), tmp_path / "run", *hooks).status == "finished"
    assert len(lost("mlflow", caplog)) == 1


def test_a_store_that_cannot_be_reached_is_one_line(refusing, tmp_path, config, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    hook = MlflowHook(tracking_uri=refusing)
    with pytest.raises(ConfigError, match=r"mlflow: .*; set MLFLOW_TRACKING_URI") as caught:
        hook.start(RunStart(config, tmp_path, 0, 4))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of SQLAlchemy, about MLflow
def test_mlflow_has_the_records_of_a_resumed_run(tmp_path, config, vary):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="the extra mlflow is not installed")
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    config = vary(config, log_every_steps=20)
    for hooks in ([Diary(fail_at=40)], []):
        tracker = MlflowHook(tracking_uri=store, experiment="digits")
        try:
            run(config, tmp_path / "run", tracker, *hooks)
        except RuntimeError:
            assert hooks
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("digits")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["optimizer.learning_rate"] == "0.1"
    last = read_records(Workdir(tmp_path / "run"))[-1]
    assert kept.data.metrics["test_accuracy"] == pytest.approx(last["test_accuracy"])
    steps = {entry.step for entry in client.get_metric_history(kept.info.run_id, "train_loss")}
    assert steps == {20, 40}


def entries(content, *, header=7, block=32768):
    """Reads the log of an offline run: blocks of records, as in LevelDB, after a header."""
    at, entry = header, b""
    while at + 7 <= len(content):
        if block - at % block < 7:  # the end of a block is left empty
            at += block - at % block
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        entry += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield entry
            entry = b""


@pytest.mark.slow
def test_wandb_has_the_records_offline(tmp_path, config, vary, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    run(vary(config, log_every_steps=20), tmp_path / "run", WandbHook(mode="offline"))
    (file,) = (tmp_path / "run").rglob("*.wandb")
    rows = []
    for data in entries(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = record.history.item
        rows += [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}]
    rows = [row for row in rows if "train_loss" in row]
    records = read_records(Workdir(tmp_path / "run"))
    assert [row["_step"] for row in rows] == [record["step"] for record in records]
    assert rows[-1]["test_accuracy"] == pytest.approx(records[-1]["test_accuracy"])
    assert pathlib.Path(tmp_path / "run" / "wandb_run").read_text().strip() in file.name
    assert wandb.run is None

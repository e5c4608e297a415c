"""Hooks that keep the records of a run in Weights & Biases and in MLflow.

Both read their usual environment variables (`WANDB_PROJECT`, `WANDB_MODE`, `MLFLOW_TRACKING_URI`,
`MLFLOW_EXPERIMENT_NAME`), and both continue the same run when a run resumes: its identity is kept
in the run's folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.hooks.hook import Hook, RunStart
from resnet_jax.training.recipe.fields import values_by_field
from resnet_jax.training.workdir.records import MetricsRecord
from resnet_jax.whole_files import write_text


class WandbHook(Hook):
    """Keeps records in Weights & Biases, with the recipe as the run's configuration.

    Args:
        **settings: Arguments of `wandb.init`, such as `project` or `mode="offline"`.

    Raises:
        ConfigError: The extra `wandb` is not installed.
    """

    def __init__(self, **settings: Any) -> None:
        self._wandb = _module("wandb")
        self._settings = settings
        self._run: Any = None

    def start(self, run: RunStart) -> None:
        """Begins the run, or continues it."""
        identity = _identity(run, "wandb", lambda: uuid.uuid4().hex[:8])
        settings = {"name": run.workdir.name, "dir": str(run.workdir), **self._settings}
        try:
            self._run = self._wandb.init(
                id=identity, resume="allow", config=values_by_field(run.config), **settings
            )
        except self._wandb.Error as error:
            raise ConfigError(
                f"wandb: {' '.join(str(error).split())}; run `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from error

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Logs the numbers of a record at its step."""
        self._run.log(_numbers(values), step=step)

    def end(self, status: str, record: MetricsRecord) -> None:
        """Writes the last record as the summary and closes the run."""
        self._run.summary.update({"status": status, **_numbers(record)})
        self._run.finish(exit_code=1 if status == "failed" else 0)


class MlflowHook(Hook):
    """Keeps records in MLflow, with the recipe as the run's parameters.

    Args:
        tracking_uri: The store, such as `sqlite:///mlflow.db`; None takes MLflow's own setting.
        experiment: The name of the experiment; None takes `MLFLOW_EXPERIMENT_NAME`, or
            `resnet_jax` without it.

    Raises:
        ConfigError: The extra `mlflow` is not installed.
    """

    def __init__(self, *, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        self._mlflow = _module("mlflow")
        self._client = self._mlflow.MlflowClient(tracking_uri=tracking_uri)
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "resnet_jax")
        self._id = ""

    def start(self, run: RunStart) -> None:
        """Begins the run, or continues it."""
        self._id = _identity(run, "mlflow", lambda: self._create(run))
        self._client.update_run(self._id, status="RUNNING")

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Logs the numbers of a record at its step."""
        for name, value in _numbers(values).items():
            self._client.log_metric(self._id, name, value, step=step)

    def end(self, status: str, record: MetricsRecord) -> None:
        """Closes the run with MLflow's word for how it ended."""
        del record
        words = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._id, status=words[status])

    def _create(self, run: RunStart) -> str:
        created = self._client.create_run(self._experiment_id(), run_name=run.workdir.name)
        identity = str(created.info.run_id)
        for name, value in values_by_field(run.config).items():
            self._client.log_param(identity, name, value)
        return identity

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self._experiment))


TRACKERS: Mapping[str, Callable[[], Hook]] = {"wandb": WandbHook, "mlflow": MlflowHook}
"""The ready-made hooks by their names on the command line."""


def open_trackers(names: Sequence[str]) -> list[Hook]:
    """Makes hooks by name.

    Raises:
        ConfigError: There is no such hook, or its extra is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(
                f"no tracker is called {name!r}.{nearest(name, TRACKERS)} There are "
                f"{' and '.join(TRACKERS)}"
            )
    return [TRACKERS[name]() for name in names]


def _module(name: str) -> Any:
    if importlib.util.find_spec(name) is None:
        raise ConfigError(f"{name} is not installed: pip install 'resnet-jax[{name}]'")
    return importlib.import_module(name)


def _identity(run: RunStart, tracker: str, create: Callable[[], str]) -> str:
    """Reads the identity of a run that resumes, or creates and keeps one."""
    file = run.workdir / f"{tracker}_run"
    if run.step and file.is_file():
        return file.read_text().strip()
    identity = create()
    write_text(file, f"{identity}\n")
    return identity


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, (int, float))}

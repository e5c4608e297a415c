"""Hooks that keep the records of a run in Weights & Biases and in MLflow.

Both read their usual environment variables (`WANDB_PROJECT`, `WANDB_MODE`, `MLFLOW_TRACKING_URI`,
`MLFLOW_EXPERIMENT_NAME`), and both continue the same run when a run resumes: its identity is kept
in the run's folder.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
import logging
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.hooks.hook import Hook, RunStart
from resnet_jax.training.recipe.fields import values_by_field
from resnet_jax.training.workdir.records import MetricsRecord
from resnet_jax.whole_files import write_text

_logger = logging.getLogger(__name__)


class _Tracker(Hook):
    """A service that keeps records; a run does not begin without it, but goes on if it is lost.

    Attributes:
        service: Its name, for messages.
        remedy: What to do if it cannot be reached.
        errors: What it raises.
    """

    service: str
    remedy: str
    errors: tuple[type[Exception], ...]

    def __init__(self) -> None:
        self._is_lost = False

    def start(self, run: RunStart) -> None:
        """Begins the run there, or continues it.

        Raises:
            ConfigError: The service refuses, or cannot be reached.
        """
        try:
            self._begin(run)
        except self.errors as error:
            raise ConfigError(f"{self.service}: {_in_one_line(error)}; {self.remedy}") from error

    def record(self, step: int, values: Mapping[str, float | None]) -> None:
        """Keeps the numbers of a record at its step."""
        self._attempt(lambda: self._keep(step, _numbers(values)))

    def end(self, status: str, record: MetricsRecord) -> None:
        """Closes the run there."""
        self._attempt(lambda: self._close(status, _numbers(record)))

    def _attempt(self, action: Callable[[], None]) -> None:
        if self._is_lost:
            return
        try:
            action()
        except self.errors as error:
            self._is_lost = True
            _logger.warning(
                "%s has lost this run, which goes on without it: %s",
                self.service,
                _in_one_line(error),
            )

    @abc.abstractmethod
    def _begin(self, run: RunStart) -> None: ...

    @abc.abstractmethod
    def _keep(self, step: int, numbers: Mapping[str, float]) -> None: ...

    @abc.abstractmethod
    def _close(self, status: str, numbers: Mapping[str, float]) -> None: ...


class WandbHook(_Tracker):
    """Keeps records in Weights & Biases, with the recipe as the run's configuration.

    If the login fails, the run does not begin. If the service is lost later, the run goes on
    without it.

    Args:
        **settings: Arguments of `wandb.init`, such as `project` or `mode="offline"`.

    Raises:
        ConfigError: The extra `wandb` is not installed.
    """

    service = "wandb"
    remedy = "run `wandb login`, or set WANDB_MODE=offline"

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._wandb = _module("wandb")
        self.errors = (self._wandb.Error, ConnectionError, TimeoutError)
        self._settings = settings
        self._run: Any = None
        # wandb reports how it is used; that this fails, as without a login, is not for the user.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)

    def _begin(self, run: RunStart) -> None:
        identity = _identity(run, "wandb", lambda: uuid.uuid4().hex[:8])
        settings = {"name": run.workdir.name, "dir": str(run.workdir), **self._settings}
        self._run = self._wandb.init(
            id=identity, resume="allow", config=values_by_field(run.config), **settings
        )

    def _keep(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def _close(self, status: str, numbers: Mapping[str, float]) -> None:
        self._run.summary.update({"status": status, **numbers})
        self._run.finish(exit_code=1 if status == "failed" else 0)


class MlflowHook(_Tracker):
    """Keeps records in MLflow, with the recipe as the run's parameters.

    If the store cannot be reached, the run does not begin. If it is lost later, the run goes on
    without it.

    Args:
        tracking_uri: The store, such as `sqlite:///mlflow.db`; None takes MLflow's own setting.
        experiment: The name of the experiment; None takes `MLFLOW_EXPERIMENT_NAME`, or
            `resnet_jax` without it.

    Raises:
        ConfigError: The extra `mlflow` is not installed.
    """

    service = "mlflow"
    remedy = "set MLFLOW_TRACKING_URI to a store that can be reached, such as sqlite:///mlflow.db"

    def __init__(self, *, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        super().__init__()
        self._mlflow = _module("mlflow")
        self.errors = (self._mlflow.MlflowException, ConnectionError, TimeoutError)
        self._uri = tracking_uri
        self._client: Any = None
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "resnet_jax")
        self._id = ""

    def _begin(self, run: RunStart) -> None:
        self._client = self._mlflow.MlflowClient(tracking_uri=self._uri)
        self._id = _identity(run, "mlflow", lambda: self._create(run))
        self._client.update_run(self._id, status="RUNNING")

    def _keep(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._client.log_metric(self._id, name, value, step=step)

    def _close(self, status: str, numbers: Mapping[str, float]) -> None:
        del numbers
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


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")

"""What the folders of runs record: names, progress, speed, settings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import statistics
from collections.abc import Sequence
from typing import Any, TypeGuard

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_path
from resnet_jax.training.cadence import early_end
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import to_json
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import MetricsRecord, read_records


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as described by its folder.

    Attributes:
        label: Its name on the page, different from all others.
        files: Its folder.
        config: Its settings.
        records: Its metrics, in the order of the steps.
    """

    label: str
    files: Workdir
    config: TrainConfig
    records: tuple[MetricsRecord, ...]

    @property
    def step(self) -> int:
        """The last recorded step."""
        return int(self.records[-1]["step"]) if self.records else 0

    @property
    def total_steps(self) -> int | None:
        """The steps of the whole run; None while the length of an epoch is unknown."""
        if self.config.steps is not None:
            return self.config.steps
        epoch = self.last("epoch")
        return round(self.config.epochs * self.step / epoch) if epoch else None

    @property
    def is_finished(self) -> bool:
        """Whether the last step of the run is recorded."""
        if early_end(self.config, self.records) == self.step > 0:
            return True
        return self.total_steps is not None and self.step >= self.total_steps

    @property
    def state(self) -> str:
        """The progress of the run, in words."""
        if not self.records:
            return "nothing recorded yet"
        if self.is_finished:
            return "finished"
        return f"unfinished: step {self.step:,} of {self.total_steps or 0:,}"

    def last(self, name: str) -> float | None:
        """Returns the last recorded value of a quantity; None if there is none."""
        points = self.points(name)
        return points[-1][1] if points else None

    def points(self, name: str) -> list[tuple[float, float]]:
        """Lists (epoch, value) for every record in which the quantity is a finite number."""
        return [
            (record["epoch"], record[name])
            for record in self.records
            if _is_number(record.get(name)) and _is_number(record.get("epoch"))
        ]

    @property
    def images_per_second(self) -> float | None:
        """The median speed without the first record, which includes compilation."""
        rates = [value for _, value in self.points("images_per_second")]
        return statistics.median(rates[1:] or rates) if rates else None

    @property
    def seconds(self) -> float | None:
        """The duration of the recorded steps, with compilation and without evaluations."""
        total, before = 0.0, 0
        for record in self.records:
            rate = record.get("images_per_second")
            if not _is_number(rate) or rate <= 0:
                return None
            total += (record["step"] - before) * self.config.batch_size / rate
            before = record["step"]
        return total or None


def read_runs(paths: Sequence[str | os.PathLike[str] | BucketPath]) -> list[Run]:
    """Reads the folders of runs; duplicates are read once.

    Raises:
        ConfigError: No folder is given, or one does not contain a run or has damaged records.
    """
    if not paths:
        raise ConfigError("no run to report on: give the folder of a run")
    unique = {path.resolve(): path for path in map(user_path, paths)}
    labels = distinct_labels(list(unique))
    return [_read(path, label) for path, label in zip(unique.values(), labels, strict=True)]


def distinct_labels(paths: Sequence[AnyPath]) -> list[str]:
    """Labels each folder with the shortest end of its path that no other folder shares."""
    labels = []
    for path in paths:
        ends = (path.parts[-depth:] for depth in range(1, len(path.parts) + 1))
        unique = (end for end in ends if sum(p.parts[-len(end) :] == end for p in paths) == 1)
        labels.append("/".join(next(unique, path.parts)))
    return labels


def differing_rows(runs: Sequence[Run]) -> tuple[list[str], dict[str, list[Any]]]:
    """Compares the settings of runs.

    Returns:
        The dotted names of the settings that differ; and for every setting its value in each run.
    """
    flat = [_settings(run.config) for run in runs]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    rows = {name: [settings.get(name, "—") for settings in flat] for name in names}
    return [name for name, values in rows.items() if any(v != values[0] for v in values)], rows


def changed_settings(run: Run) -> dict[str, tuple[Any, Any]]:
    """Returns the settings of a run that are not the defaults: (value, default) by dotted name."""
    values, defaults = _settings(run.config), _settings(TrainConfig())
    pairs = {name: (values.get(name), defaults.get(name)) for name in values | defaults}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _settings(config: TrainConfig) -> dict[str, Any]:
    return _flatten(json.loads(to_json(config)))


def _read(path: AnyPath, label: str) -> Run:
    files = Workdir(path)
    config = files.read_config()
    return Run(label, files, config, tuple(read_records(files)))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat

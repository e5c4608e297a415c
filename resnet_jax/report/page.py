"""The page: one self-contained HTML file, light or dark, for phones and desktops."""

from __future__ import annotations

import datetime
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jinja2

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.errors import ConfigError
from resnet_jax.inference.trained import open_trained
from resnet_jax.local_paths import user_path
from resnet_jax.report.data_uris import confusion_uri, image_uri, is_small
from resnet_jax.report.findings import Findings, examine
from resnet_jax.report.plots import draw_charts, series
from resnet_jax.report.runs import Run, changed_settings, differing_rows, read_runs
from resnet_jax.training.workdir.environment import (
    Environment,
    describe_environment,
    read_environments,
)
from resnet_jax.training.workdir.records import damaged_lines
from resnet_jax.whole_files import write_text

TABLE_CLASSES = 24
"""Up to this number of classes the confusion matrix is a table; beyond it, an image."""

_FLAT_NAME = 3  # longer class names are written vertically above their columns
_PAIRS = 12
_IMAGE_WIDTH = 640


class Outcome(NamedTuple):
    """A run and the evaluation of its network.

    Attributes:
        run: The run.
        findings: The results; None if the network could not be evaluated.
        problem: Why it could not be evaluated, or the empty string.
    """

    run: Run
    findings: Findings | None
    problem: str = ""


def write_report(
    paths: Sequence[str | os.PathLike[str] | BucketPath],
    output: str | os.PathLike[str] | BucketPath,
    *,
    split: str | None = None,
    mistakes: int = 24,
    evaluate: bool = True,
    tell: Callable[[str], None] | None = None,
) -> AnyPath:
    """Writes a page about runs.

    Args:
        paths: The folders of the runs. An unfinished run, or one whose data or checkpoint cannot
            be read, is reported as far as possible.
        output: The file to write.
        split: The split to evaluate on; None takes each run's test split.
        mistakes: How many of the worst mistakes are shown for each run.
        evaluate: Whether the networks are evaluated; otherwise the page has no confusions and no
            mistakes.
        tell: Called with one line before each run is evaluated.

    Returns:
        The file.

    Raises:
        ConfigError: A folder does not contain a run, or a number is out of range.
        OSError: The file cannot be written.
    """
    if mistakes < 0:
        raise ConfigError(f"mistakes={mistakes}: give 0 or more")
    output = user_path(output)
    if output.is_dir():
        raise ConfigError(f"output={output} is a folder; name a file, such as {output}/report.html")
    runs = read_runs(paths)
    for run in runs:
        if tell and (damaged := damaged_lines(run.files)):
            tell(f"{run.files.metrics} has damaged lines ({len(damaged)}), which are left out")
    outcomes = []
    for run in runs if evaluate else ():
        if tell:
            tell(f"evaluating {run.label}")
        outcomes.append(_examine(run, split, mistakes))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, render(runs, outcomes))
    return output


def render(runs: Sequence[Run], outcomes: Sequence[Outcome]) -> str:
    """Renders the HTML of the page.

    Args:
        runs: The runs, at least one.
        outcomes: Their evaluations; empty if the networks were not evaluated.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resnet_jax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "duration": _duration,
        "value": _value,
    }
    found = {outcome.run.label: outcome.findings for outcome in outcomes}
    differing, settings = differing_rows(runs)
    return environment.get_template("page.html").render(
        title=runs[0].label if len(runs) == 1 else f"{len(runs)} runs",
        style=pathlib.Path(__file__).with_name("page.css").read_text(),
        runs=[_row(run, index, found.get(run.label)) for index, run in enumerate(runs)],
        charts=draw_charts(runs),
        outcomes=[_section(outcome) for outcome in outcomes],
        evaluated=bool(outcomes),
        differing=differing,
        settings=settings,
        changed=changed_settings(runs[0]),
        environments=_environments(runs),
        unrecorded=[run.label for run in runs if not run.files.environment.is_file()],
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _environments(runs: Sequence[Run]) -> list[tuple[str, Environment]]:
    """Lists the environments of each run, by label, and that of this page."""
    columns = []
    for run in runs:
        entries = read_environments(run.files)
        for entry in entries:
            since = f", from step {entry['step']:,}" if len(entries) > 1 else ""
            columns.append((f"{run.label}{since}", entry))
    return [*columns, ("this page", describe_environment())]


def _examine(run: Run, split: str | None, mistakes: int) -> Outcome:
    try:
        return Outcome(
            run, examine(open_trained(str(run.files.root)), split=split, mistakes=mistakes)
        )
    except (ValueError, OSError) as error:
        return Outcome(run, None, " ".join(str(error).split()))


def _row(run: Run, index: int, findings: Findings | None) -> dict[str, Any]:
    validations = [value for _, value in run.points("validation_accuracy")]
    return {
        "label": run.label,
        "series": series(index),
        "state": run.state,
        "is_finished": run.is_finished,
        "network": run.config.model.name,
        "data": run.config.data.name,
        "parameters": findings.num_parameters if findings else None,
        "epoch": run.last("epoch"),
        "test": run.last("test_accuracy"),
        "test_count": run.last("test_count"),
        "validation": validations[-1] if validations else None,
        "rate": run.images_per_second,
        "seconds": run.seconds,
    }


def _section(outcome: Outcome) -> dict[str, Any]:
    findings = outcome.findings
    section: dict[str, Any] = {"label": outcome.run.label, "problem": outcome.problem}
    if findings is None:
        return section
    measures, confusion, names = findings.measures, findings.confusion, findings.class_names
    return section | {
        "findings": findings,
        "measures": measures,
        "wrong": measures.count - measures.top1,
        "table": _shares(findings) if len(names) <= TABLE_CLASSES else None,
        "is_upright": max(map(len, names)) > _FLAT_NAME,
        "image_width": len(names) * max(1, _IMAGE_WIDTH // len(names)),
        "image": confusion_uri(confusion) if len(names) > TABLE_CLASSES else None,
        "pairs": findings.confused_pairs(_PAIRS),
        "mistakes": [
            {
                "uri": image_uri(mistake.image),
                "is_small": is_small(mistake.image),
                "label": names[mistake.label],
                "predicted": names[mistake.predicted],
                "mistake": mistake,
            }
            for mistake in findings.mistakes
        ],
    }


def _shares(findings: Findings) -> list[dict[str, Any]]:
    """Lays out the confusion matrix: per class its name, total and (count, share) pairs."""
    rows = []
    for name, counts in zip(findings.class_names, findings.confusion.tolist(), strict=True):
        total = sum(counts)
        cells = [(count, count / total if total else 0.0) for count in counts]
        rows.append({"name": name, "cells": cells, "total": total})
    return rows


def _number(value: float | None, digits: int = 0) -> str:
    return "—" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None, digits: int = 2) -> str:
    return "—" if value is None else f"{value:.{digits}%}"


def _value(value: Any) -> str:
    """Formats a setting for readers."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "—"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

"""Ends a run: draws its curves and reports the result."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import jax
from rich.console import Console

from resnet_jax.buckets import AnyPath
from resnet_jax.errors import noun_for
from resnet_jax.machine.program import command_line
from resnet_jax.plain_json import json_text
from resnet_jax.training.progress import say
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.orbax_checkpointer import BEST_BY
from resnet_jax.training.workdir.records import MetricsRecord, read_records
from resnet_jax.training.workdir.stored import StoredCheckpoints
from resnet_jax.whole_files import replacing, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Status = Literal["finished", "interrupted", "before"]


@dataclasses.dataclass(frozen=True)
class Result:
    """How a call of `train` ended.

    Attributes:
        status: `finished` now, `interrupted` by a signal after saving, or finished `before`.
        step: Batches seen.
        total_steps: Batches of the whole run.
        record: The last record of the run: `test_accuracy`, `test_count` and the others.
    """

    status: Status
    step: int
    total_steps: int
    record: MetricsRecord


def conclude(
    files: Workdir, console: Console, *, status: Status, step: int, total_steps: int
) -> Result:
    """Draws the curves of a finished run and prints where its files are.

    Args:
        files: The folder of the run.
        console: Where to report.
        status: How it ended.
        step: Batches seen.
        total_steps: Batches of the whole run.
    """
    records = read_records(files)
    result = Result(status, step, total_steps, record=records[-1] if records else {})
    named = files.named
    if status == "interrupted":
        say(console, f"interrupted: saved step {step} of {total_steps} in {named}")
        say(console, "resume with the same command")
        return result
    if status == "before":
        say(
            console,
            f"the run in {named} is finished: nothing to do (longer: more epochs and --extend)",
        )
    if jax.process_index() == 0 and not (status == "before" and files.curves.is_file()):
        draw_curves(records, files.curves)
    record = result.record
    split = next((name for name in ("test", "validation") if f"{name}_count" in record), None)
    if split is not None:
        say(console, _result_of(split, record))
    say(console, f"checkpoint   {named.checkpoints / str(step)}")
    best = StoredCheckpoints(files.checkpoints).best()
    if best is not None:
        metric = next((name for name in BEST_BY if name in record), BEST_BY[0])
        measured = f"{metric.replace('_', ' ')} {best[1]:.2%}"
        say(console, f"best         checkpoint {best[0]}, {measured} (--step=best)")
        if jax.process_index() == 0 and not (status == "before" and files.best.is_file()):
            values = {"step": best[0], metric: best[1]}
            write_text(files.best, json_text(values) + "\n")
    tensorboard = shlex.join(["tensorboard", f"--logdir={named.tensorboard}"])
    say(console, f"TensorBoard  {named.tensorboard}  ({tensorboard})")
    say(console, f"metrics      {named.metrics}")
    say(console, f"curves       {named.curves}")
    model = f"--model={named}"
    say(console, f"evaluate     {command_line('eval', model)}")
    say(console, f"classify     {command_line('predict', 'IMAGE', model)}")
    return result


def _result_of(split: str, record: MetricsRecord) -> str:
    """Words the result on a split."""
    count = record[f"{split}_count"]
    expected = record.get(f"{split}_expected", count)
    counted = f"counted {count} of {expected} {noun_for(expected or 0, 'image')}"
    if f"{split}_accuracy" in record:
        share = record[f"{split}_accuracy"]
        return f"{split} accuracy {share:.2%} ({round(share * count)} correct; {counted})"
    precision = record[f"{split}_mean_average_precision"]
    f1 = ", ".join(f"{kind} {record[f'{split}_f1_{kind}']:.2%}" for kind in ("micro", "macro"))
    return f"{split} mean average precision {precision:.2%}, F1 {f1} ({counted})"


def draw_curves(records: Sequence[MetricsRecord], path: AnyPath) -> None:
    """Draws loss and accuracy, or mean average precision, over the epochs.

    Args:
        records: From `read_records`.
        path: The PNG file to write.
    """
    # Imported here: matplotlib takes most of a second, and only the end of a run needs it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    several = any("train_f1" in record for record in records)
    share = "mean_average_precision" if several else "accuracy"
    for axes, quantity in ((losses, "loss"), (accuracies, share)):
        for split in ("train", "validation", "test"):
            _draw(axes, records, split, quantity)
        axes.set(xlabel="epoch", ylabel=quantity.replace("_", " "))
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(frameon=False)
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        FigureCanvasAgg(figure).print_png(file)


def _draw(axes: Axes, records: Sequence[MetricsRecord], split: str, quantity: str) -> None:
    name = f"{split}_{quantity}"
    points = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
    if points:
        marker = "o" if len(points) == 1 else None
        axes.plot(*zip(*points, strict=True), marker=marker, label=f"{split} {points[-1][1]:.4g}")

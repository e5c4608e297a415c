"""How a run ends, and what a person is told about it."""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
from rich.console import Console

from resnet_jax.training.logs import Record, read_records
from resnet_jax.training.progress import say
from resnet_jax.training.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Result:
    """How a call of `train` ended.

    Attributes:
        status: `finished` now, `interrupted` by a signal after saving, or finished `before`.
        step: Batches seen.
        total_steps: Batches of the whole run.
        record: The last record of the run: `test_accuracy`, `test_count` and the others.
    """

    status: Literal["finished", "interrupted", "before"]
    step: int
    total_steps: int
    record: Record


def last_record(files: Workdir) -> Record:
    """Reads the last record of a run; empty where there is none."""
    records = read_records(files)
    return records[-1] if records else {}


def conclude(result: Result, files: Workdir, console: Console) -> None:
    """Draws the curves of a finished run and says where everything lies."""
    root = files.root
    if result.status == "interrupted":
        say(console, f"interrupted: saved step {result.step} of {result.total_steps} in {root}")
        say(console, "resume with the same command")
        return
    if result.status == "before":
        say(console, f"the run in {root} is finished: nothing to do")
    if jax.process_index() == 0 and not (result.status == "before" and files.curves.is_file()):
        # Imported here: matplotlib takes most of a second, and only the end of a run needs it.
        from resnet_jax.training.curves import draw_curves

        draw_curves(read_records(files), files.curves)
    record = result.record
    if "test_accuracy" in record:
        share, count = record["test_accuracy"], record["test_count"]
        right, expected = round(share * count), record.get("test_expected", count)
        counted = f"counted {count} of {expected} images"
        say(console, f"test accuracy {share:.2%} ({right} right; {counted})")
    say(console, f"checkpoint   {files.checkpoints / str(result.step)}")
    say(console, f"TensorBoard  {files.tensorboard}  (tensorboard --logdir={files.tensorboard})")
    say(console, f"metrics      {files.metrics}")
    say(console, f"curves       {files.curves}")
    say(console, f"evaluate     python train.py --mode=eval --workdir={root}")

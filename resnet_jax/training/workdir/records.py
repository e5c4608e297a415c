"""The records of a run: `metrics.jsonl` for programs, TensorBoard events for a browser."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax

from resnet_jax.local_paths import local_path
from resnet_jax.plain_json import json_text
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.whole_files import write_text


@contextlib.contextmanager
def _as_if_missing(module: str) -> Iterator[None]:
    """Hides a module from imports, unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(module, None)


with _as_if_missing("torch"):  # slow to import, and only needed to write tensors
    from tensorboardX import SummaryWriter

MetricsRecord = dict[str, Any]

CLOCKED = ("images_per_second", "data_seconds")
"""What a clock measured; the rest of a record is the same in every repetition of a run."""


def read_records(workdir: Workdir) -> list[MetricsRecord]:
    """Reads the records of a run in the order of their steps; `damaged_lines` has the rest."""
    return _split_lines(workdir)[0]


def damaged_lines(workdir: Workdir) -> list[bytes]:
    """Lists the lines of `metrics.jsonl` that are not records.

    An incomplete last line, left by a killed process, is none of them.
    """
    return _split_lines(workdir)[1]


def _split_lines(workdir: Workdir) -> tuple[list[MetricsRecord], list[bytes]]:
    if not workdir.metrics.is_file():
        return [], []
    *lines, last = workdir.metrics.read_bytes().split(b"\n")
    records: list[MetricsRecord] = []
    damaged: list[bytes] = []
    for line in lines:
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line.strip():
            damaged.append(line)
    record = _record(last)  # complete but for the end of the line
    return [*records, *([record] if record else [])], damaged


def _record(line: bytes) -> MetricsRecord | None:
    try:
        values = json.loads(line)
    except ValueError:  # of the encoding, too
        return None
    step = values.get("step") if isinstance(values, dict) else None
    return values if isinstance(step, int) and not isinstance(step, bool) else None


class MetricsLog:
    """Writes records; use it in a `with` statement. Only the first process writes.

    Args:
        workdir: The folder of the run.
        start: The step that the run resumes from. Records of later steps, which a killed process
            wrote, are removed, so that no step is recorded twice. Lines that are not records are
            moved to `metrics.damaged.jsonl`.

    Attributes:
        remark: What the user should know, or None.
    """

    def __init__(self, workdir: Workdir, *, start: int) -> None:
        self._workdir = workdir
        self._writer: SummaryWriter | None = None
        self.remark: str | None = None
        if jax.process_index() == 0:
            damaged = damaged_lines(workdir)
            if damaged:
                aside = workdir.metrics.with_suffix(".damaged.jsonl")
                with local_path(aside).open("ab") as file:
                    file.writelines(line + b"\n" for line in damaged)
                name = workdir.named.metrics
                self.remark = f"{name} has damaged lines ({len(damaged)}), now in {aside.name}"
            kept = [record for record in read_records(workdir) if record["step"] <= start]
            write_text(workdir.metrics, "".join(f"{json_text(record)}\n" for record in kept))
            # TensorBoard ignores what an earlier process wrote from this step on. That is step 1
            # if the earlier process was killed before it saved anything.
            self._writer = SummaryWriter(str(workdir.tensorboard), purge_step=start + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def flush(self) -> None:
        """Brings the TensorBoard events to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Writes the record of a step.

        Args:
            step: Batches seen so far.
            values: Numbers by name; None if there is nothing to report.
        """
        if self._writer is None:
            return
        with local_path(self._workdir.metrics).open("a") as file:
            file.write(json_text({"step": step, **values}) + "\n")
        for name, value in values.items():
            if value is not None:
                group, _, rest = name.partition("_")
                split = group in ("train", "validation", "test")
                self._writer.add_scalar(f"{group}/{rest}" if split else name, value, step)

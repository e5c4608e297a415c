import io
import pathlib
import re
import struct
import time

import pytest
from rich.console import Console
from tensorboardX.proto import event_pb2

from resnet_jax.training.conclusion import draw_curves
from resnet_jax.training.progress import ProgressReport
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import MetricsLog, damaged_lines, read_records


def steps(files):
    return [record["step"] for record in read_records(files)]


def test_no_step_stands_twice_after_a_resume(tmp_path):
    files = Workdir(tmp_path)
    with MetricsLog(files, start=0) as log:
        for step in (10, 20, 30):
            log.write(step, {"epoch": step / 10, "train_loss": 1.0, "validation_loss": None})
    with files.metrics.open("a") as file:
        file.write('{"step": 40, "train_lo')
    assert steps(files) == [10, 20, 30]
    with MetricsLog(files, start=20) as log:
        log.write(30, {"epoch": 3, "train_loss": 2.0})
    assert steps(files) == [10, 20, 30]
    assert [record["train_loss"] for record in read_records(files)] == [1.0, 1.0, 2.0]
    assert len(list(files.tensorboard.glob("events.out.tfevents.*"))) >= 1


@pytest.mark.parametrize("line", [b"\xff\xfe", b"5", b'{"step": "x"}', b'{"step": 2', b"[1]"])
def test_a_damaged_line_costs_no_other_record_and_is_kept(tmp_path, line):
    files = Workdir(tmp_path)
    with MetricsLog(files, start=0) as log:
        log.write(10, {"epoch": 1})
        with files.metrics.open("ab") as file:
            file.write(line + b"\n")
        log.write(20, {"epoch": 2})
    assert steps(files) == [10, 20]
    assert damaged_lines(files) == [line]
    with MetricsLog(files, start=20) as log:
        assert log.remark.endswith("has damaged lines (1), now in metrics.damaged.jsonl")
    assert (tmp_path / "metrics.damaged.jsonl").read_bytes() == line + b"\n"
    assert (steps(files), damaged_lines(files)) == ([10, 20], [])
    with MetricsLog(files, start=20) as log:
        assert log.remark is None


def events(files):
    """Reads TensorBoard's events in the order in which they were written."""
    for path in sorted(files.tensorboard.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[length + 16 :]


def test_curves_in_tensorboard_stay_one_line_after_a_resume(tmp_path):
    files = Workdir(tmp_path)
    # The process before the last was killed before it saved anything: it starts at 0.
    for start, steps, value in ((0, (10, 20, 30), 1.0), (20, (30, 40), 2.0), (0, (10,), 3.0)):
        with MetricsLog(files, start=start) as log:
            for step in steps:
                log.write(step, {"train_loss": value})
        time.sleep(1.1)  # names of event files carry seconds
        shown = {}
        for event in events(files):
            if event.session_log.status == event_pb2.SessionLog.START:
                # What TensorBoard does with events that an earlier process left.
                shown = {step: value for step, value in shown.items() if step < event.step}
            for value_ in event.summary.value:
                assert event.step not in shown
                shown[event.step] = value_.simple_value
        expected = {20: {10: 1.0, 20: 1.0, 30: 2.0, 40: 2.0}}.get(start)
        assert expected is None or shown == expected
    assert shown == {10: 3.0}


def test_curves_are_a_photo(tmp_path):
    records = [
        {"step": step, "epoch": step / 10, "train_loss": 1 / step, "train_accuracy": 0.5}
        for step in (10, 20)
    ]
    records[-1] |= {"validation_loss": 0.1, "validation_accuracy": 0.9, "test_accuracy": None}
    draw_curves(records, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    draw_curves([], tmp_path / "empty.png")


def report(*, terminal, width=160, total=4, **others):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, _environ={})
    values = {"train_loss": 1.25, "train_accuracy": 0.5, "images_per_second": 1234.5, "epoch": 1}
    values |= others
    with ProgressReport(console, start=0, total=total) as progress:
        progress.advance()
        progress.advance()
        progress.show(2, values)
    return out.getvalue()


def test_progress_is_a_plain_line_where_there_is_no_terminal():
    text = report(terminal=False)
    first, compiled, line = text.splitlines()
    assert first == "compiling the first step"
    assert re.fullmatch(r"compiled in \d+\.\d s", compiled)
    assert line == "step 2/4  loss 1.250  accuracy 50.0%  1,234 images/s  0:00 left"


def test_progress_counts_where_the_validation_skipped_images():
    counts = {"validation_accuracy": 0.5, "validation_count": 998, "validation_expected": 1000}
    assert "validation 50.00%" in report(terminal=False, **counts)
    assert "counted 998 of 1000 images for validation" in report(terminal=False, **counts)


def test_progress_is_a_bar_on_a_terminal():
    text = report(terminal=True)
    for word in ("2/4", "loss 1.250", "accuracy 50.0%", "1,234 images/s", "━"):
        assert word in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_bar_keeps_its_total_and_time_left_on_a_narrow_screen(width):
    text = report(terminal=True, width=width, total=112590, validation_accuracy=0.75)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    bars = [part for line in drawn.splitlines() for part in line.split("\r") if "112590" in part]
    assert len(bars) > 1
    for bar in bars:
        assert re.search(r"2/112590 (\d\d:\d\d|--:--|\d+:\d\d:\d\d)|[01]/112590", bar)
        assert len(bar) <= width


def test_a_terminal_keeps_one_line_per_epoch():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, _environ={})
    with ProgressReport(console, start=0, total=30) as progress:
        for step in range(1, 31):
            progress.advance()
            # 3 / 7 * 7 is below 3 in floating point; epochs are of 10 steps.
            progress.show(step, {"epoch": step / 10 - 1e-12, "train_loss": 1.0})
    kept = re.findall(r"^.*?(epoch \S+  loss \S+)", out.getvalue(), re.MULTILINE)
    assert kept == [f"epoch {epoch}  loss 1.000" for epoch in (1, 2, 3)]


def test_the_folder_of_a_run_names_its_files():
    files = Workdir(pathlib.Path("runs/x"))
    assert files.curves == pathlib.Path("runs/x/curves.png")

"""Runs that are killed, in processes of their own."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_at_random_moments_change_nothing(tmp_path):
    result = tmp_path / "result.json"
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "benchmarks" / "soak.py"),
            "--steps=150",
            "--checkpoint_every=5",
            "--kills=10",
            "--spread=0.4",
            f"--json={result}",
            "--config.data.validation_split=none",
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    values = json.loads(result.read_text())
    assert values["kills"] >= 10
    assert values["equal"]
    assert values["steps_twice"] == 0

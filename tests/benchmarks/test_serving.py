import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_attacks_cost_no_honest_client_an_answer(tmp_path):
    path = tmp_path / "result.json"
    words = ["--clients=24", "--attackers=1", "--seconds=20", f"--json={path}"]
    command = [sys.executable, "-m", "benchmarks.serving", *words, "--connections=200"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    result = json.loads(path.read_text())
    for phase in ("peace", "attack"):
        assert result[phase]["honest"]["answered"] > 0
        assert result[phase]["honest"]["others"] == {}
    hostile = result["attack"]["hostile"]
    for name in ("scans", "fill bytes", "rows"):
        assert hostile[name]["answered"] == 0
        assert hostile[name]["others"]["415"] > 0
    assert result["status"] == 0
    assert result["log_bytes"] < 1000

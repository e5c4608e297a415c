"""What the figures of docs/benchmarks.md come from."""

import json
import sys

import pytest

from benchmarks import contest, render

PROGRAM = """
from benchmarks.contest import serve_each
def prepare(what):
    def step():
        print("stepped", what, file=log, flush=True)
    return step
log = open({log!r}, "w")
serve_each(prepare)
"""


def test_contestants_work_in_turn_on_what_they_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(render.ROOT))
    logs = {who: tmp_path / who for who in ("ours", "theirs")}
    programs = {who: ("-c", PROGRAM.format(log=str(log))) for who, log in logs.items()}
    programs["broken"] = ("-c", "pass")
    with contest.ready(programs) as contestants:
        assert list(contestants) == ["ours", "theirs"]
        for what in ("one thing", "another"):
            seconds = contest.turns(contestants, rounds=2, steps=3, what=what)
            assert {who: len(turns) for who, turns in seconds.items()} == {"ours": 2, "theirs": 2}
    # Of each: one step when it is new, and one for warmth before each turn.
    expected = ["stepped one thing"] * 9 + ["stepped another"] * 9
    assert all(log.read_text().splitlines() == expected for log in logs.values())


@pytest.mark.parametrize(("less", "ratio"), [(False, 3 / 4), (True, 2 / 3)])
def test_a_row_compares_with_the_best_peer_and_not_with_other_forms_of_ours(less, ratio):
    figures = {"ours": [1.0, 3.0, 9.0], "ours, other": [100.0], "a": [2.0], "b": [4.0]}
    row = contest.row("x", figures, limit=None, goal=1.0, less_is_better=less)
    assert (row.ours, row.ratio) == (3.0, ratio)
    assert row.peers == {"ours, other": 100.0, "a": 2.0, "b": 4.0}


def test_the_pages_are_those_of_the_results(tmp_path, monkeypatch):
    kept = {name: getattr(render, name) for name in ("PAGE", "LAYERS_PAGE")}
    for name, path in kept.items():
        monkeypatch.setattr(render, name, tmp_path / path.name)
    render.main()
    for path in kept.values():
        assert (tmp_path / path.name).read_text() == path.read_text()


@pytest.mark.parametrize("path", sorted(render.RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_how_it_came_about(path):
    assert path.stem in render.SECTIONS
    result = json.loads(path.read_text())
    for row in result["rows"]:
        assert row["command"].startswith("python -m benchmarks.")
        assert sys.maxsize > row["ours"] > 0
    assert {"processor", "cores", "python", "jax"} <= result["machine"].keys()

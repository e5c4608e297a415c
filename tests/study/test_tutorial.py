"""The tutorial runs, from its first line of code to its last."""

import pathlib
import re
import runpy

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


def code_of(text):
    """Keeps the Python of a page, each line at its number, so that errors name the page's lines."""
    kept, inside = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        kept.append(line if inside and not fence else "")
        inside = line == "```python" or (inside and not fence)
    return "\n".join(kept) + "\n"


def run(code, folder, monkeypatch):
    monkeypatch.chdir(folder)
    file = folder / "tutorial.py"
    file.write_text(code)
    return runpy.run_path(str(file))


def test_code_keeps_its_lines():
    page = "a\n```python\nx = 1\n```\nb\n```\nshell\n```\n```python\ny = 2\n```\n"
    assert code_of(page) == "\n\nx = 1\n\n\n\n\n\n\ny = 2\n\n"


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path, monkeypatch, capsys):
    names = run(code_of(PAGE.read_text()), tmp_path, monkeypatch)
    assert names["right"] > 300
    assert names["result"].status == "finished"
    printed = capsys.readouterr().out
    assert "g changes by 2%, f by 100%" in printed
    assert (tmp_path / "runs" / "tutorial" / "curves.png").is_file()


def test_links_of_the_pages_lead_somewhere():
    for page in (PAGE, PAGE.with_name("study.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).is_file(), f"{page.name}: {target}"

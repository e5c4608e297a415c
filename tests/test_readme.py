"""The README: its code runs and prints what it says, its figures are those of the benchmarks."""

import contextlib
import io
import json
import pathlib
import re
import zipfile

import pytest

from benchmarks import render

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
WEIGHTS = "resnet20-12fca82f.th"


@pytest.fixture
def example(shared_data, tmp_path, monkeypatch):
    """A folder with the files that the README names."""
    archive = shared_data / "data" / "cifar10_jpeg.zip"
    weights = shared_data / "data" / "cifar_resnet_weights" / WEIGHTS
    if not (archive.is_file() and weights.is_file()):
        pytest.skip(f"{archive} or {weights} is missing")
    (tmp_path / WEIGHTS).symlink_to(weights)
    with zipfile.ZipFile(archive) as images:
        (tmp_path / "frog.jpg").write_bytes(images.read("test/frog/0001.jpg"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("example", "optimized")
def test_the_code_runs_and_the_first_block_prints_what_the_page_says():
    first, *others = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (shown,) = re.findall(r"```\n( 99.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(first, "README.md", "exec"), names)  # noqa: S102
    assert printed.getvalue() == shown
    for block in others:
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    assert {"logits", "y", "backbone"} <= names.keys()


def test_the_rows_of_networks_are_those_of_the_benchmark():
    rows = json.loads((render.RESULTS / "networks_cpu.json").read_text())["rows"]
    assert len(rows) == 6
    for row in rows:
        network, use, size, *_ = row["name"].split(", ")
        figures = [
            row["ours"],
            *(row["peers"][peer] for peer in ("torch", "torch.compile", "flax")),
        ]
        written = [render.figure(value) for value in figures] + [f"{row['ratio']:.2f}"]
        head = f"{network.replace('resnet', 'ResNet-')}, {size}"
        assert f"| {' | '.join([head, use, *written])} |" in README


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda path: path.name
)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text()):
        if "://" in target:
            continue
        path = page.parent / target if target else page
        assert path.is_file(), f"{page.name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor in slugs, f"{page.name}: {target}#{anchor}"

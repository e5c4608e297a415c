"""The page about backbones runs, in NNX and in Linen."""

import pathlib
import re
import runpy

import pytest

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "backbones.md"


@pytest.mark.slow
def test_both_ways_of_fine_tuning_learn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "page.py"
    file.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)))
    names = runpy.run_path(str(file))
    assert names["nnx_losses"][-1] < names["nnx_losses"][0]
    assert names["linen_losses"][-1] < names["linen_losses"][0]

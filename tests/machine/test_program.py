"""Commands that are printed work where they are printed."""

import pathlib
import subprocess
import sys

import pytest

import resnet_jax

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "from resnet_jax.machine.program import command_line; print(command_line('--version'))"


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("path", ["/usr/bin:/bin", None])
def test_a_printed_command_works_in_a_shell(elsewhere, path, tmp_path, monkeypatch):
    """With and without the environment on the search path, in the checkout and elsewhere."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    where = tmp_path if elsewhere else ROOT
    # As `train.py` does, which finds the package next to itself.
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {PROGRAM}"
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=where, capture_output=True, text=True, check=True
    ).stdout.strip()
    done = subprocess.run(
        printed, shell=True, cwd=where, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"resnet-jax {resnet_jax.__version__} ")

"""Programs that use the package as its users do; `make lint` checks their types."""

import importlib
import pathlib

import pytest

PROGRAMS = sorted(path.stem for path in pathlib.Path(__file__).parent.glob("[!t]*.py"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_runs(program):
    importlib.import_module(f"tests.typing.{program}").main()

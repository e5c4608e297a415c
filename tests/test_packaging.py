"""What an installation gets: versions, files, bounds, and how little `import resnet_jax` loads."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import resnet_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = {
    name: [Requirement(line) for line in lines]
    for name, lines in {
        "dependencies": PROJECT["dependencies"],
        **PROJECT["optional-dependencies"],
    }.items()
}
EVERYWHERE = [requirement for group in GROUPS.values() for requirement in group]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_carries_the_version_of_the_package(wheel):
    assert wheel.name.split("-")[:2] == ["resnet_jax", resnet_jax.__version__]


def test_the_installed_version_is_that_of_the_package():
    try:
        installed = importlib.metadata.version("resnet-jax")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("resnet-jax is not installed here: `pip install -e .` installs it")
    assert installed == resnet_jax.__version__, "installed before the version changed: reinstall"


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "resnet_jax").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "resnet_jax/py.typed" in package
    # The recipes lie beside the package in a checkout and inside of it in an installation.
    package |= {f"resnet_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == package


@pytest.mark.slow
def test_an_installation_trains_from_every_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = "from resnet_jax.cli import main; main()"
    schedule = {"schedule.name": "constant", "schedule.warmup_epochs": 0.0}
    fields = {"model.name": "resnet8", "steps": 2, **schedule, "data.validation_split": "none"}
    words = ["train", *(f"--config.{name}={value}" for name, value in fields.items())]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "runs" / "digits" / "checkpoints" / "2").is_dir()


def test_every_dependency_has_bounds_on_both_sides():
    def bounded(requirement):
        operators = sorted(specifier.operator for specifier in requirement.specifier)
        return operators in (["=="], ["<", ">="])

    assert [str(requirement) for requirement in EVERYWHERE if not bounded(requirement)] == []


def test_a_dependency_has_the_same_bounds_in_every_extra():
    bounds = {}
    for requirement in EVERYWHERE:
        bounds.setdefault(canonicalize_name(requirement.name), set()).add(requirement.specifier)
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_the_constraints_are_exact_sorted_and_within_the_bounds():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    exact = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
    assert len(exact) == len(lines)
    assert list(exact) == sorted(exact)
    outside = {
        str(requirement): exact.get(canonicalize_name(requirement.name), "no version")
        for requirement in GROUPS["dependencies"] + GROUPS["test"]
        if not requirement.specifier.contains(exact.get(canonicalize_name(requirement.name), "0"))
    }
    assert outside == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("resnet_jax", "grain matplotlib sklearn tensorflow tensorflow_datasets torch"),
        ("resnet_jax.training.loop", "tensorflow torch"),
    ],
)
def test_imports_load_no_other_framework_and_no_library_before_its_time(module, heavy):
    program = (
        f"import sys, {module}; print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"

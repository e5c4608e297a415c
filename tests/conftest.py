"""Fixtures and settings shared by every test."""

import os
import pathlib

# Before the first import of jax: the backend is chosen when jax starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real photographs, datasets and published weights that lies outside the project.

    `RESNET_JAX_SHARED` names it; without that it is the folder `shared` beside the project.
    """
    folder = pathlib.Path(os.environ.get("RESNET_JAX_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"{folder} is no folder; set RESNET_JAX_SHARED to the folder of shared data")
    return folder

"""PyTorch, torchvision and timm, for the tests that compare with them."""

import importlib.util
import os
import pathlib
import types

import pytest

REASON = "could not import {}: `make peers` installs it"


@pytest.fixture(scope="session")
def torch() -> types.ModuleType:
    """PyTorch, on one thread: its threads and XLA's would wait for each other's cores."""
    # Large pages: clearing small ones takes as long as a convolution in float64.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    torch = pytest.importorskip("torch", reason=REASON.format("torch"))
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="session")
def torchvision(torch: types.ModuleType) -> types.ModuleType:
    """torchvision, its Python code at the least.

    That code registers shapes for two operators of the compiled half when it is imported. Where
    the compiled half belongs to another build of PyTorch and does not load, they are declared here.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        pytest.skip(REASON.format("torchvision"))
    try:
        for compiled in pathlib.Path(spec.origin).parent.glob("_C.*"):
            torch.ops.load_library(str(compiled))
    except OSError:
        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
    return pytest.importorskip("torchvision", reason=REASON.format("torchvision"))


@pytest.fixture(scope="session")
def timm(torchvision: types.ModuleType) -> types.ModuleType:
    """timm, which imports torchvision."""
    return pytest.importorskip("timm", reason=REASON.format("timm"))

"""The peers that these tests compare with: PyTorch, torchvision and timm (`make peers`)."""

import types

import pytest

INSTALL = "`make peers` installs it"


@pytest.fixture(scope="session")
def torch() -> types.ModuleType:
    """PyTorch, on one device and with a fixed order of sums."""
    module = pytest.importorskip("torch", reason=f"torch is not installed; {INSTALL}")
    module.use_deterministic_algorithms(True)
    return module


@pytest.fixture(scope="session")
def torchvision(torch: types.ModuleType) -> types.ModuleType:
    """torchvision's Python code, which needs two operators that its compiled half would define."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    module = pytest.importorskip("torchvision", reason=f"torchvision is not installed; {INSTALL}")
    module._operators = library  # the declarations live as long as this object
    return module


@pytest.fixture(scope="session")
def timm(torchvision: types.ModuleType) -> types.ModuleType:
    """timm, which imports torchvision."""
    return pytest.importorskip("timm", reason=f"timm is not installed; {INSTALL}")

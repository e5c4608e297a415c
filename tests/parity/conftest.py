"""What the comparisons with PyTorch, torchvision and timm share; tests/peers.py has the peers."""

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def _optimized(optimized: None) -> None:
    """Compares what users get."""


@pytest.fixture
def cifar_resnet20(torch: types.ModuleType) -> Callable[[], Any]:
    """Builds the network of 20 layers for CIFAR in PyTorch."""
    networks = importlib.import_module("benchmarks.torch_networks")
    return functools.partial(networks.Cifar, depth=3, classes=10)

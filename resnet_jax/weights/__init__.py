"""Weights: in from PyTorch, out to PyTorch."""

from resnet_jax.weights.convert import load_torch, to_torch
from resnet_jax.weights.errors import WeightsError

__all__ = ["WeightsError", "load_torch", "to_torch"]

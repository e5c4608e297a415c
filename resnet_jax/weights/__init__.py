"""Weights: in from PyTorch, out to PyTorch, and files that a network is rebuilt from."""

from resnet_jax.weights.convert import load_torch, to_torch
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.model_file import ModelRecord, load, read_record, save

__all__ = [
    "ModelRecord",
    "WeightsError",
    "load",
    "load_torch",
    "read_record",
    "save",
    "to_torch",
]

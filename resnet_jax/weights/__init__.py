"""Weights: from and to PyTorch, and files from which a network is rebuilt."""

from resnet_jax.weights.convert import load_torch
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.exchange import convert_file
from resnet_jax.weights.own_files import ModelRecord, load, read_record, recorded_inputs, save
from resnet_jax.weights.pretrained import create_model, load_pretrained
from resnet_jax.weights.torch_dicts import to_torch

__all__ = [
    "ModelRecord",
    "WeightsError",
    "convert_file",
    "create_model",
    "load",
    "load_pretrained",
    "load_torch",
    "read_record",
    "recorded_inputs",
    "save",
    "to_torch",
]

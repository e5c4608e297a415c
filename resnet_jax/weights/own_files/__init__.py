"""Our own format: safetensors with the config of the network in the metadata."""

from resnet_jax.weights.own_files.inputs import torch_metadata
from resnet_jax.weights.own_files.load import load, open_model
from resnet_jax.weights.own_files.record import (
    VERSION,
    ModelRecord,
    read_record,
    recorded_inputs,
)
from resnet_jax.weights.own_files.save import save

__all__ = [
    "VERSION",
    "ModelRecord",
    "load",
    "open_model",
    "read_record",
    "recorded_inputs",
    "save",
    "torch_metadata",
]

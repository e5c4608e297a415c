"""Layers: what the blocks are made of. Imports jax and flax only."""

from resnet_jax.layers.conv import conv, conv1x1, conv3x3
from resnet_jax.layers.drop import Dropout, DropPath
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.pool import average_pool, global_average_pool, max_pool

__all__ = [
    "BatchNorm",
    "DropPath",
    "Dropout",
    "average_pool",
    "conv",
    "conv1x1",
    "conv3x3",
    "global_average_pool",
    "max_pool",
]

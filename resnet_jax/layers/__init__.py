"""Layers, from which the blocks are built. Imports only jax and flax."""

from resnet_jax.layers.attention import EfficientChannelAttention, SqueezeExcite
from resnet_jax.layers.bound import Bound, gelu, relu, silu
from resnet_jax.layers.conv import conv, conv1x1, conv3x3, standardized_conv
from resnet_jax.layers.conv_norm import convolve_and_normalize
from resnet_jax.layers.drop import Dropout, DropPath
from resnet_jax.layers.example_norm import EvoNormS0, FilterResponseNorm, group_norm
from resnet_jax.layers.global_pool import (
    GLOBAL_POOLS,
    GlobalPool,
    global_max_pool,
    no_global_pool,
)
from resnet_jax.layers.initializers import Supply, classifier_uniform, kaiming_normal, supplied
from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.ops import blur_pool, compute_once, max_pool
from resnet_jax.layers.pool import average_pool, global_average_pool
from resnet_jax.layers.settings import LayerSettings

__all__ = [
    "GLOBAL_POOLS",
    "BatchNorm",
    "Bound",
    "DropPath",
    "Dropout",
    "EfficientChannelAttention",
    "EvoNormS0",
    "FilterResponseNorm",
    "GlobalPool",
    "LayerSettings",
    "SqueezeExcite",
    "Supply",
    "average_pool",
    "blur_pool",
    "classifier_uniform",
    "compute_once",
    "conv",
    "conv1x1",
    "conv3x3",
    "convolve_and_normalize",
    "gelu",
    "global_average_pool",
    "global_max_pool",
    "group_norm",
    "kaiming_normal",
    "max_pool",
    "no_global_pool",
    "relu",
    "silu",
    "standardized_conv",
    "supplied",
]

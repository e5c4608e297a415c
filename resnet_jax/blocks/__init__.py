"""Blocks: what the networks are stacked from. Imports jax and flax only."""

from resnet_jax.blocks.basic import BasicBlock, PlainBlock
from resnet_jax.blocks.bottleneck import Bottleneck
from resnet_jax.blocks.parts import Parts
from resnet_jax.blocks.preactivation import PreactivationBasicBlock, PreactivationBottleneck
from resnet_jax.blocks.residual import ResidualBlock
from resnet_jax.blocks.shortcut import (
    PadShortcut,
    PooledProjection,
    Projection,
    identity,
    no_layer,
    shortcut_a,
    shortcut_b,
    shortcut_b3x3,
    shortcut_c,
    shortcut_d,
)

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "PadShortcut",
    "Parts",
    "PlainBlock",
    "PooledProjection",
    "PreactivationBasicBlock",
    "PreactivationBottleneck",
    "Projection",
    "ResidualBlock",
    "identity",
    "no_layer",
    "shortcut_a",
    "shortcut_b",
    "shortcut_b3x3",
    "shortcut_c",
    "shortcut_d",
]

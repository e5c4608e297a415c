"""Reads and replaces layers of networks and blocks."""

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax import BasicBlock, Bottleneck, Parts, ResidualBlock, ResNet, create_model


def kernel_shapes(model: ResNet) -> list[tuple[int, ...]]:
    """Reads layers of the stem, of a block and of its shortcut."""
    block = model.stages[1][0]
    kernels = (model.stem.conv.kernel, block.conv1.kernel, block.shortcut.conv.kernel)
    return [kernel.shape for kernel in kernels]


def with_more_channels(model: ResNet, rngs: nnx.Rngs) -> None:
    """Replaces the first convolution by one for four channels."""
    old = model.stem.conv
    model.stem.conv = nnx.Conv(4, old.out_features, old.kernel_size, use_bias=False, rngs=rngs)


def with_attention(model: ResNet, rngs: nnx.Rngs) -> None:
    """Replaces a part of a block, and a block."""
    model.stages[0][0].attention = nnx.data(nnx.Linear(16, 16, rngs=rngs))
    model.stages[2][0] = BasicBlock(32, 64, stride=2, rngs=rngs)


def running_means(block: BasicBlock | Bottleneck | ResidualBlock) -> jax.Array:
    """Reads the statistics of blocks."""
    means: jax.Array = jnp.concatenate([block.norm1.mean[...], block.norm2.mean[...]])
    return means


def built_of_parts(rngs: nnx.Rngs) -> BasicBlock:
    """Builds a block of other parts."""
    return BasicBlock(16, 16, parts=Parts(act=jnp.tanh, zero_init_last=True), rngs=rngs)


def main() -> None:
    """Runs each function once."""
    model: ResNet = create_model("resnet8", rngs=nnx.Rngs(0))
    model.stages[1][0] = BasicBlock(16, 32, stride=2, rngs=nnx.Rngs(1))
    assert kernel_shapes(model) == [(3, 3, 3, 16), (3, 3, 16, 32), (1, 1, 16, 32)]
    with_attention(model, nnx.Rngs(2))
    with_more_channels(model, nnx.Rngs(3))
    assert model.stem.conv.kernel.shape == (3, 3, 4, 16)
    assert running_means(built_of_parts(nnx.Rngs(4))).shape == (32,)
    assert running_means(ResidualBlock(4, 8, rngs=nnx.Rngs(5))).shape == (16,)

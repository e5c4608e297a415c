"""A minimal residual block: the one of the notes that this project began with."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.blocks.shortcut import LayerFactory
from resnet_jax.layers import BatchNorm, LayerSettings, conv1x1, conv3x3


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions with BatchNorm, and a 1x1 convolution with bias on the shortcut.

    The shortcut is convolved in every block and has no norm; see `BasicBlock` for the block of the
    published networks.

    Attributes:
        conv1: 3x3, strided, no bias.
        norm1: BatchNorm, followed by a ReLU.
        conv2: 3x3, no bias.
        norm2: BatchNorm.
        shortcut: 1x1, strided, with bias.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int = 1,
        norm: LayerFactory = BatchNorm,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the block in training mode.

        Args:
            in_features: Channels of the input.
            features: Channels of the output.
            stride: Step of the first convolution and of the shortcut.
            norm: `(features, *, dtype, param_dtype, rngs)` builds the norms.
            dtype: Dtype of the computation; BatchNorm's statistics stay in float32.
            param_dtype: Dtype in which the parameters are stored.
            rngs: The key `params` initialises the kernels.
        """
        settings: LayerSettings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        self.conv1 = conv3x3(in_features, features, stride=stride, **settings)
        self.norm1 = norm(features, **settings)
        self.conv2 = conv3x3(features, features, **settings)
        self.norm2 = norm(features, **settings)
        self.shortcut = conv1x1(in_features, features, stride=stride, **settings)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, height, width, in_features] to [batch, height / stride, ..., features]."""
        y = nnx.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return nnx.relu(y + self.shortcut(x))

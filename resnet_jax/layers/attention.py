"""Channel attention: weights each channel of a feature map by a summary of the whole map."""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers.initializers import kaiming_normal
from resnet_jax.layers.pool import global_average_pool


class SqueezeExcite(nnx.Module):
    """Weights the channels by two fully connected layers.

    Attributes:
        fc1: From the means of the channels to the hidden layer.
        fc2: From the hidden layer to a weight for each channel.

    References:
        Hu et al. 2017, https://arxiv.org/abs/1709.01507.
    """

    def __init__(
        self,
        features: int,
        *,
        ratio: float = 1 / 16,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer.

        Args:
            features: Channels of the feature map.
            ratio: Hidden channels per channel, rounded to a multiple of 8 and at least 8.
            dtype: Dtype of the computation; None takes it from the input and the parameters.
            param_dtype: Dtype of the stored parameters.
            rngs: The key `params` initialises the kernels.
        """
        hidden = max(8, math.floor(features * ratio / 8 + 0.5) * 8)
        linear = functools.partial(
            nnx.Linear, dtype=dtype, param_dtype=param_dtype, kernel_init=kaiming_normal, rngs=rngs
        )
        self.fc1 = linear(features, hidden)
        self.fc2 = linear(hidden, features)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Weights the channels of x [batch, height, width, features]."""
        means = global_average_pool(x).astype(x.dtype)
        weights = nnx.sigmoid(self.fc2(nnx.relu(self.fc1(means))))
        return x * weights[:, None, None, :]


class EfficientChannelAttention(nnx.Module):
    """Weights the channels by a convolution along them, with only a few parameters.

    Attributes:
        conv: The convolution; its kernel size grows with the logarithm of the features.

    References:
        Wang et al. 2019, https://arxiv.org/abs/1910.03151.
    """

    def __init__(
        self,
        features: int,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer for maps of `features` channels; other arguments as `SqueezeExcite`."""
        reach = int((math.log2(features) + 1) / 2)  # the paper's equation 12
        kernel_size = max(3, reach + 1 - reach % 2)
        self.conv = nnx.Conv(
            1,
            1,
            (kernel_size,),
            padding=kernel_size // 2,
            use_bias=False,
            dtype=dtype,
            param_dtype=param_dtype,
            kernel_init=kaiming_normal,
            rngs=rngs,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """Weights the channels of x [batch, height, width, features]."""
        means = global_average_pool(x).astype(x.dtype)
        weights = nnx.sigmoid(self.conv(means[:, :, None])[:, :, 0])
        return x * weights[:, None, None, :]

"""ResNet-50 in Flax Linen as one usually writes it, after the form of Flax's ImageNet example."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class Bottleneck(nn.Module):
    """Three convolutions and a projection where the shape changes."""

    features: int
    stride: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Maps [batch, height, width, channels] to [..., 4 * features]."""
        conv = functools.partial(nn.Conv, use_bias=False, dtype=self.dtype)
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
        )
        strides = (self.stride, self.stride)
        y = nn.relu(norm()(conv(self.features, (1, 1))(x)))
        y = nn.relu(norm()(conv(self.features, (3, 3), strides)(y)))
        y = norm(scale_init=nn.initializers.zeros_init())(conv(4 * self.features, (1, 1))(y))
        if x.shape != y.shape:
            x = norm()(conv(4 * self.features, (1, 1), strides)(x))
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """The network of He et al. 2015, with the stride in the 3x3 convolutions.

    Attributes:
        classes: The number of logits.
        dtype: Of the computation; None for that of the parameters.
    """

    classes: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> Any:
        """Maps images [batch, height, width, 3] to logits [batch, classes]."""
        dtype = self.dtype
        sides = ((3, 3), (3, 3))
        x = nn.Conv(64, (7, 7), (2, 2), padding=sides, use_bias=False, dtype=dtype)(x)
        x = nn.relu(nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype)(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage, blocks in enumerate((3, 4, 6, 3)):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                x = Bottleneck(64 * 2**stage, stride, dtype)(x, train)
        return nn.Dense(self.classes, dtype=dtype)(jnp.mean(x, (1, 2)))

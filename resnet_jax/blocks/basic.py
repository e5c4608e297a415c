"""The block of the 18 and 34-layer networks and of the CIFAR ones, and its plain twin."""

from typing import Unpack

import jax
from flax import nnx

from resnet_jax.blocks.parts import Parts
from resnet_jax.layers import DropPath, LayerSettings


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with norms, added to the shortcut.

    Attributes:
        conv1: 3x3, strided.
        norm1: Norm, followed by the activation.
        conv2: 3x3.
        norm2: Norm.
        attention: Channel attention on the branch; identity by default.
        shortcut: Identity, or what `parts.shortcut` builds.

    References:
        He et al. 2015, figure 5 left, https://arxiv.org/abs/1512.03385.
    """

    expansion = 1
    preactivation = False

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        mid_features: int | None = None,
        groups: int = 1,
        drop_path_rate: float = 0.0,
        parts: Parts = Parts(),
        **settings: Unpack[LayerSettings],
    ) -> None:
        """Builds the block in training mode.

        Args:
            in_features: Channels of the input.
            features: Channels of the output.
            stride: Step of the first convolution and of the shortcut.
            dilation: Dilation of the second convolution.
            first_dilation: Dilation of the first convolution; None takes `dilation`.
            mid_features: Channels between the convolutions; None takes `features`.
            groups: Groups of the convolutions.
            drop_path_rate: Probability that an example skips the residual branch in training.
            parts: Builders of the layers.
            **settings: `dtype`, `param_dtype` and `rngs`; see `resnet_jax.layers.LayerSettings`.
        """
        mid_features = mid_features or features
        first_dilation = first_dilation or dilation
        parts = parts.bind(**settings)
        dilations = {"dilation": dilation, "first_dilation": first_dilation}
        conv_stride, self.antialias = parts.striding(stride, **dilations)
        self.conv1 = parts.conv(
            in_features, mid_features, 3, stride=conv_stride, dilation=first_dilation, groups=groups
        )
        self.norm1 = parts.norm(mid_features)
        self.conv2 = parts.conv(mid_features, features, 3, dilation=dilation, groups=groups)
        self.norm2 = parts.last_norm(features)
        self.attention = parts.attention(features)
        self.drop_path = DropPath(drop_path_rate)
        self.shortcut = parts.shortcut(in_features, features, stride=stride, **dilations)
        self.act = parts.act

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps [batch, height, width, in_features] to [batch, height / stride, ..., features].

        Args:
            x: The input.
            rngs: Its stream `dropout` feeds stochastic depth; needed only for that, in training.
        """
        y = self.antialias(self.act(self.norm1(self.conv1(x))))
        y = self.attention(self.norm2(self.conv2(y)))
        return self.act(self.drop_path(y, rngs) + self.shortcut(x))


class PlainBlock(nnx.Module):
    """The layers of `BasicBlock` without a shortcut: deep stacks of it degrade.

    Attributes:
        conv1: 3x3, strided.
        norm1: Norm, followed by the activation.
        conv2: 3x3.
        norm2: Norm, followed by the activation.

    References:
        He et al. 2015, section 3.3 "Plain Network", https://arxiv.org/abs/1512.03385.
    """

    expansion = 1
    preactivation = False

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        first_dilation: int | None = None,
        parts: Parts = Parts(),
        **settings: Unpack[LayerSettings],
    ) -> None:
        """Builds the block in training mode; arguments as for `BasicBlock`."""
        parts = parts.bind(**settings)
        self.conv1 = parts.conv(
            in_features, features, 3, stride=stride, dilation=first_dilation or dilation
        )
        self.norm1 = parts.norm(features)
        self.conv2 = parts.conv(features, features, 3, dilation=dilation)
        self.norm2 = parts.norm(features)
        self.act = parts.act

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps [batch, height, width, in_features] to [batch, height / stride, ..., features].

        Args:
            x: The input.
            rngs: Unused; every block of a network is called alike.
        """
        del rngs
        y = self.act(self.norm1(self.conv1(x)))
        return self.act(self.norm2(self.conv2(y)))

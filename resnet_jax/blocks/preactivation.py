"""Blocks whose norms and activations come before the convolutions, so that sums pass unchanged."""

from typing import Unpack

import jax
from flax import nnx

from resnet_jax.blocks.parts import Parts
from resnet_jax.blocks.shortcut import Shortcut, identity, no_layer
from resnet_jax.layers import DropPath, LayerSettings


class PreactivationBasicBlock(nnx.Module):
    """Norm, activation and 3x3 convolution, twice, added to the shortcut.

    An identity shortcut carries the block's input on; any other starts from the activated input,
    and has no norm.

    Attributes:
        norm1: Norm, followed by the activation.
        conv1: 3x3, strided.
        norm2: Norm, followed by the activation.
        conv2: 3x3.
        attention: Channel attention on the branch; identity by default.
        shortcut: Identity, or what `parts.shortcut` builds.

    References:
        He et al. 2016, figure 1b, https://arxiv.org/abs/1603.05027.
    """

    expansion = 1
    preactivation = True

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
        """Builds the block in training mode; arguments as for `BasicBlock`."""
        mid_features = mid_features or features
        first_dilation = first_dilation or dilation
        parts = parts.bind(**settings)
        dilations = {"dilation": dilation, "first_dilation": first_dilation}
        conv_stride, self.antialias = parts.striding(stride, **dilations)
        self.norm1 = parts.norm(in_features)
        self.conv1 = parts.conv(
            in_features, mid_features, 3, stride=conv_stride, dilation=first_dilation, groups=groups
        )
        self.norm2 = parts.norm(mid_features)
        self.conv2 = parts.last_conv(mid_features, features, 3, dilation=dilation, groups=groups)
        self.attention = parts.attention(features)
        self.drop_path = DropPath(drop_path_rate)
        self.shortcut = parts.shortcut(
            in_features, features, stride=stride, norm=no_layer, **dilations
        )
        self.act = parts.act

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps [batch, height, width, in_features] to [batch, height / stride, ..., features].

        Args:
            x: The input.
            rngs: Its stream `dropout` feeds stochastic depth; needed only for that, in training.
        """
        activated = self.act(self.norm1(x))
        y = self.antialias(self.act(self.norm2(self.conv1(activated))))
        y = self.attention(self.conv2(y))
        return self.drop_path(y, rngs) + _carried(self.shortcut, x, activated)


class PreactivationBottleneck(nnx.Module):
    """Norm, activation and convolution, 1x1, 3x3 and 1x1, added to the shortcut.

    The shortcut is that of `PreactivationBasicBlock`.

    Attributes:
        norm1: Norm, followed by the activation.
        conv1: 1x1, to `mid_features`.
        norm2: Norm, followed by the activation.
        conv2: 3x3, strided, in groups.
        norm3: Norm, followed by the activation.
        conv3: 1x1, to `features`.
        attention: Channel attention on the branch; identity by default.
        shortcut: Identity, or what `parts.shortcut` builds.

    References:
        He et al. 2016, https://arxiv.org/abs/1603.05027, with the stride on the 3x3 convolution.
    """

    expansion = 4
    preactivation = True

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
        """Builds the block in training mode; arguments as for `Bottleneck`."""
        mid_features = mid_features or features // self.expansion
        first_dilation = first_dilation or dilation
        parts = parts.bind(**settings)
        dilations = {"dilation": dilation, "first_dilation": first_dilation}
        conv_stride, self.antialias = parts.striding(stride, **dilations)
        self.norm1 = parts.norm(in_features)
        self.conv1 = parts.conv(in_features, mid_features, 1)
        self.norm2 = parts.norm(mid_features)
        self.conv2 = parts.conv(
            mid_features,
            mid_features,
            3,
            stride=conv_stride,
            dilation=first_dilation,
            groups=groups,
        )
        self.norm3 = parts.norm(mid_features)
        self.conv3 = parts.last_conv(mid_features, features, 1)
        self.attention = parts.attention(features)
        self.drop_path = DropPath(drop_path_rate)
        self.shortcut = parts.shortcut(
            in_features, features, stride=stride, norm=no_layer, **dilations
        )
        self.act = parts.act

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Maps [batch, height, width, in_features] to [batch, height / stride, ..., features].

        Args:
            x: The input.
            rngs: Its stream `dropout` feeds stochastic depth; needed only for that, in training.
        """
        activated = self.act(self.norm1(x))
        y = self.act(self.norm2(self.conv1(activated)))
        y = self.antialias(self.act(self.norm3(self.conv2(y))))
        y = self.attention(self.conv3(y))
        return self.drop_path(y, rngs) + _carried(self.shortcut, x, activated)


def _carried(shortcut: Shortcut, x: jax.Array, activated: jax.Array) -> jax.Array:
    return x if shortcut is identity else shortcut(activated)

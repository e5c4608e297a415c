"""The block of the 50-layer and deeper networks, ResNeXt and the wide ones."""

from typing import Unpack

import jax
from flax import nnx

from resnet_jax.blocks.parts import Parts
from resnet_jax.layers import DropPath, LayerSettings, convolve_and_normalize


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions with norms, added to the shortcut.

    Attributes:
        conv1: 1x1, to `first_features`.
        norm1: Norm, followed by the activation.
        conv2: 3x3, strided (v1.5), in groups, to `mid_features`.
        norm2: Norm, followed by the activation.
        conv3: 1x1, to `features`.
        norm3: Norm.
        attention: Channel attention on the branch; identity by default.
        shortcut: Identity, or what `parts.shortcut` builds.

    References:
        He et al. 2015, figure 5 right, https://arxiv.org/abs/1512.03385. The stride on the 3x3
        convolution ("v1.5", as in torchvision) costs 5% more and gains about half a point.
        Groups: Xie et al. 2016, https://arxiv.org/abs/1611.05431.
    """

    expansion = 4
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
        first_features: int | None = None,
        groups: int = 1,
        stride_first: bool = False,
        drop_path_rate: float = 0.0,
        parts: Parts = Parts(),
        **settings: Unpack[LayerSettings],
    ) -> None:
        """Builds the block in training mode.

        Args:
            in_features: Channels of the input.
            features: Channels of the output.
            stride: Step of the striding convolution and of the shortcut.
            dilation: Dilation that the block's output is meant for.
            first_dilation: Dilation of the 3x3 convolution, that of the block's input; None takes
                `dilation`.
            mid_features: Channels of the 3x3 convolution; None takes a quarter of `features`.
            first_features: Channels of the first 1x1 convolution; None takes `mid_features`.
            groups: Groups of the 3x3 convolution.
            stride_first: Stride on the first 1x1 convolution, as the paper has it (v1), and not on
                the 3x3.
            drop_path_rate: Probability that an example skips the residual branch in training.
            parts: Builders of the layers.
            **settings: `dtype`, `param_dtype` and `rngs`; see `resnet_jax.layers.LayerSettings`.
        """
        mid_features = mid_features or features // self.expansion
        first_features = first_features or mid_features
        first_dilation = first_dilation or dilation
        parts = parts.bind(**settings)
        stride1, stride2 = (stride, 1) if stride_first else (1, stride)
        dilations = {"dilation": dilation, "first_dilation": first_dilation}
        stride2, self.antialias = parts.striding(stride2, **dilations)
        self.conv1 = parts.conv(in_features, first_features, 1, stride=stride1)
        self.norm1 = parts.norm(first_features)
        self.conv2 = parts.conv(
            first_features, mid_features, 3, stride=stride2, dilation=first_dilation, groups=groups
        )
        self.norm2 = parts.norm(mid_features)
        self.conv3 = parts.conv(mid_features, features, 1)
        self.norm3 = parts.last_norm(features)
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
        y = self.act(self.norm1(self.conv1(x)))
        y = self.antialias(self.act(self.norm2(self.conv2(y))))
        y = self.attention(convolve_and_normalize(self.conv3, self.norm3, y))
        return self.act(self.drop_path(y, rngs) + self.shortcut(x))

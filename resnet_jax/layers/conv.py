"""Convolutions with explicit symmetric padding."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

# Normal with variance 2 / (kernel area * features): He et al. 2015, "Delving Deep into
# Rectifiers", equation 14, the backward form, which torchvision and timm use for ResNets.
kaiming_normal = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(
    in_features: int,
    features: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    use_bias: bool = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Builds a square convolution, padded alike on both sides.

    Flax's "SAME" pads a strided convolution more at the end than at the start; PyTorch, and the
    published weights, pad both sides by `dilation * (kernel_size - 1) // 2`, at any stride.

    Args:
        in_features: channels of the input, NHWC.
        features: channels of the output.
        kernel_size: height and width of the kernel, odd.
        stride: step in both directions; the output has `ceil(size / stride)` rows and columns.
        dilation: distance between the kernel's taps.
        groups: number of groups that the channels are divided into.
        use_bias: whether a bias is added; a BatchNorm that follows makes it superfluous.
        dtype: dtype of the computation; None takes it from the input and the parameters.
        param_dtype: dtype in which the parameters are stored.
        rngs: the key `params` initialises the kernel.

    Returns:
        An `nnx.Conv` from [batch, height, width, in_features] to [..., features].
    """
    padding = dilation * (kernel_size - 1) // 2
    return nnx.Conv(
        in_features,
        features,
        (kernel_size, kernel_size),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        kernel_dilation=(dilation, dilation),
        feature_group_count=groups,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=param_dtype,
        kernel_init=kaiming_normal,
        rngs=rngs,
    )


def conv3x3(
    in_features: int,
    features: int,
    *,
    stride: int = 1,
    use_bias: bool = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Builds a 3x3 convolution with padding 1 and, unless asked for, no bias. See `conv`."""
    return conv(
        in_features,
        features,
        3,
        stride=stride,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )


def conv1x1(
    in_features: int,
    features: int,
    *,
    stride: int = 1,
    use_bias: bool = True,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Builds a 1x1 convolution with, unless refused, a bias. See `conv`."""
    return conv(
        in_features,
        features,
        1,
        stride=stride,
        use_bias=use_bias,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )

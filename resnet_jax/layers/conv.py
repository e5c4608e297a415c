"""Convolutions with explicit symmetric padding."""

from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax.typing import DTypeLike

from resnet_jax.layers.bound import Bound
from resnet_jax.layers.initializers import kaiming_normal
from resnet_jax.layers.ops import convolve
from resnet_jax.layers.settings import LayerSettings


def conv(
    in_features: int,
    features: int,
    kernel_size: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    use_bias: bool = False,
    kernel_init: nnx.Initializer = kaiming_normal,
    promote_dtype: Callable[..., Any] = dtypes.promote_dtype,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Builds a square convolution with equal padding on both sides.

    Flax's "SAME" pads a strided convolution more at the end than at the start; PyTorch, and the
    published weights, pad both sides by `dilation * (kernel_size - 1) // 2`, at any stride.

    Args:
        in_features: Channels of the input, NHWC.
        features: Channels of the output.
        kernel_size: Height and width of the kernel, odd.
        stride: Step in both directions; the output has `ceil(size / stride)` rows and columns.
        dilation: Distance between the kernel's taps.
        groups: Number of groups that the channels are divided into.
        use_bias: Whether to add a bias; a BatchNorm after it makes one superfluous.
        kernel_init: Initialiser of the kernel.
        promote_dtype: As for `nnx.Conv`: prepares the inputs, the kernel and the bias for the
            computation, `((inputs, kernel, bias), dtype=) -> (inputs, kernel, bias)`.
        dtype: Dtype of the computation; None takes it from the input and the parameters.
        param_dtype: Dtype of the stored parameters.
        rngs: The key `params` initialises the kernel.

    Returns:
        An `nnx.Conv` from [batch, height, width, in_features] to [..., features].

    Raises:
        ValueError: The channels do not divide into the groups.
    """
    if in_features % groups or features % groups:
        raise ValueError(
            f"a convolution from {in_features} to {features} channels does not divide into "
            f"groups={groups}."
        )
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
        kernel_init=kernel_init,
        conv_general_dilated=convolve,
        promote_dtype=promote_dtype,
        rngs=rngs,
    )


def standardized_conv(
    in_features: int,
    features: int,
    kernel_size: int,
    *,
    epsilon: float = 1e-8,
    **settings: Any,
) -> nnx.Conv:
    """Builds a convolution that standardises each filter of its kernel whenever it is used.

    Args:
        in_features: Channels of the input, NHWC.
        features: Channels of the output.
        kernel_size: Height and width of the kernel, odd.
        epsilon: Added to the variance of a filter before the root; the default is BiT's.
        **settings: As for `conv`.

    Returns:
        An `nnx.Conv` that stores the raw kernel.

    References:
        Qiao et al. 2019, https://arxiv.org/abs/1903.10520.
    """
    return conv(
        in_features,
        features,
        kernel_size,
        promote_dtype=Bound(_standardize_and_promote, epsilon=epsilon),
        **settings,
    )


def _standardize_and_promote(
    arrays: tuple[jax.Array, jax.Array, jax.Array | None],
    *,
    dtype: DTypeLike | None = None,
    epsilon: float,
) -> Any:
    # Before the promotion, so that the statistics are those of the stored parameters.
    inputs, kernel, bias = arrays
    mean = jnp.mean(kernel, axis=(0, 1, 2), keepdims=True)
    variance = jnp.var(kernel, axis=(0, 1, 2), keepdims=True)
    kernel = (kernel - mean) * jax.lax.rsqrt(variance + epsilon)
    return dtypes.promote_dtype((inputs, kernel, bias), dtype=dtype)


def conv3x3(
    in_features: int,
    features: int,
    *,
    stride: int = 1,
    use_bias: bool = False,
    **settings: Unpack[LayerSettings],
) -> nnx.Conv:
    """Builds a 3x3 convolution with padding 1 and, by default, no bias. See `conv`."""
    return conv(in_features, features, 3, stride=stride, use_bias=use_bias, **settings)


def conv1x1(
    in_features: int,
    features: int,
    *,
    stride: int = 1,
    use_bias: bool = True,
    **settings: Unpack[LayerSettings],
) -> nnx.Conv:
    """Builds a 1x1 convolution with, by default, a bias. See `conv`."""
    return conv(in_features, features, 1, stride=stride, use_bias=use_bias, **settings)

"""A convolution and the BatchNorm after it, as one where that moves less memory."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes
from jax.sharding import AxisType
from jax.typing import DTypeLike

from resnet_jax.layers.norm import BatchNorm
from resnet_jax.layers.ops import convolve, convolve_folded

_EXPANSION = 2  # features per input from which folding saves more traffic than it adds


def convolve_and_normalize(conv: Any, norm: Any, x: jax.Array) -> jax.Array:
    """Applies a convolution and a norm: `norm(conv(x))`, up to rounding.

    A BatchNorm with `fold=True` becomes part of a 1x1 convolution with at least twice as many
    features as inputs, in training and in half precision: the statistics of the result follow from
    the covariance of the input, so that the result is written once and not read again by the norm
    and its derivative. The rounding is another one, of the same size. It has no forward-mode
    derivative. With other layers, such as those that surgery put there, for other dtypes and on
    meshes with explicit axes, the one is applied after the other.

    Args:
        conv: The convolution.
        norm: The norm.
        x: [batch, height, width, in_features].

    Returns:
        [batch, height / stride, width / stride, features].

    Raises:
        ValueError: As for `BatchNorm`.
    """
    if not (_is_foldable(norm) and _takes_a_norm(conv, norm) and _are_foldable(x, conv, norm)):
        return norm(conv(x))
    dtype = _computation(conv, x)
    rows, columns = conv.strides
    groups = norm.split(x[:, ::rows, ::columns].astype(dtype))
    scale, bias = (param[...].astype(norm.mean.dtype) for param in (norm.scale, norm.bias))
    y, mean, var = convolve_folded(
        groups, conv.kernel[0, 0], scale=scale, bias=bias, epsilon=norm.epsilon
    )
    norm.update(mean, var, count=math.prod(groups.shape[1:4]))
    return y.reshape(-1, *y.shape[2:])


def _is_foldable(norm: Any) -> bool:
    return (
        type(norm) is BatchNorm and norm.fold and not norm.use_running_average and not norm.two_pass
    )


def _takes_a_norm(conv: Any, norm: BatchNorm) -> bool:
    """Whether a layer is a plain 1x1 convolution with more features than inputs."""
    return (
        type(conv) is nnx.Conv
        and conv.kernel.shape[:2] == (1, 1)
        and conv.bias is None
        and conv.mask is None
        and conv.feature_group_count == 1
        and isinstance(conv.strides, tuple)
        and conv.padding == ((0, 0), (0, 0))
        and conv.input_dilation == 1
        and conv.precision is None
        and conv.preferred_element_type is None
        and conv.conv_general_dilated is convolve
        and conv.promote_dtype is dtypes.promote_dtype
        and conv.out_features == norm.scale.shape[0]
        and conv.out_features >= _EXPANSION * conv.in_features
    )


def _are_foldable(x: jax.Array, conv: nnx.Conv, norm: BatchNorm) -> bool:
    """Whether x has images, which both layers compute with 16 bits, on an ordinary mesh."""
    dtype = jnp.dtype(_computation(conv, x))
    return (
        x.ndim == 4
        and 0 not in x.shape
        and x.shape[-1] == conv.in_features
        and dtype.itemsize == 2
        and norm.dtype in (None, dtype)
        and AxisType.Explicit not in jax.typeof(x).sharding.mesh.axis_types
    )


def _computation(conv: nnx.Conv, x: jax.Array) -> DTypeLike:
    """Returns the dtype in which a convolution computes."""
    return conv.dtype or jnp.promote_types(x.dtype, conv.kernel.dtype)

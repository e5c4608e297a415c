"""Folds BatchNorm into the convolutions before it, for inference."""

from __future__ import annotations

import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn import dtypes

from resnet_jax.blocks import identity
from resnet_jax.layers import BatchNorm
from resnet_jax.models import ResNet

_NUMBERED = re.compile(r"conv(\d*)")


def fold_batch_norm(model: ResNet) -> ResNet:
    """Returns a copy of a network in evaluation mode that computes the same in fewer operations.

    Every BatchNorm that directly follows a plain convolution is merged into that convolution's
    kernel and bias. The others stay: the first norm of pre-activation blocks and the final norm of
    pre-activation networks.

    Args:
        model: The network, in evaluation mode; it is not changed.

    Returns:
        A network in evaluation mode. Its parameters have other names: it can be run and exported,
        but not saved as a network of the zoo.
    """
    folded = nnx.clone(model)
    folded.eval()
    for _, module in list(nnx.iter_modules(folded)):
        for conv_name, norm_name in _pairs(module):
            _fold(module, conv_name, norm_name)
    return folded


def _pairs(module: nnx.Module) -> Iterator[tuple[str, str]]:
    """Yields the names of each convolution of a module and of the BatchNorm that follows it."""
    before = bool(getattr(module, "preactivation", False)) and not isinstance(module, ResNet)
    for name in list(vars(module)):
        match = _NUMBERED.fullmatch(name)
        if match is None or not isinstance(getattr(module, name), nnx.Conv):
            continue
        norm = f"norm{int(match[1]) + before}" if match[1] else "norm"
        follows = isinstance(getattr(module, norm, None), BatchNorm)
        if follows and not _standardizes(getattr(module, name)):
            yield name, norm


def _standardizes(conv: nnx.Conv) -> bool:
    """Whether a convolution transforms its kernel at every call."""
    return conv.promote_dtype is not dtypes.promote_dtype


def _fold(module: nnx.Module, conv_name: str, norm_name: str) -> None:
    conv, norm = getattr(module, conv_name), getattr(module, norm_name)
    scale = norm.scale[...] * jax.lax.rsqrt(norm.var[...] + norm.epsilon)
    kernel = conv.kernel[...]
    conv.kernel.set_value((kernel * scale).astype(kernel.dtype))
    start = conv.bias[...] if conv.bias is not None else jnp.zeros_like(norm.mean[...])
    bias = (start - norm.mean[...]) * scale + norm.bias[...]
    conv.bias = nnx.Param(bias.astype(kernel.dtype))
    conv.use_bias = True
    delattr(module, norm_name)  # Flax records whether an attribute holds arrays
    setattr(module, norm_name, identity)

"""The names that a config may use, and the parts that they stand for."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import nnx

from resnet_jax.blocks import (
    BasicBlock,
    Bottleneck,
    PlainBlock,
    PreactivationBasicBlock,
    PreactivationBottleneck,
    no_layer,
    shortcut_a,
    shortcut_b,
    shortcut_b3x3,
    shortcut_c,
    shortcut_d,
)
from resnet_jax.layers import (
    BatchNorm,
    EfficientChannelAttention,
    EvoNormS0,
    FilterResponseNorm,
    SqueezeExcite,
    average_pool,
    blur_pool,
    conv,
    gelu,
    group_norm,
    relu,
    silu,
    standardized_conv,
)

Block = Any  # `block(x, rngs=None)`; what else it has depends on its kind


class NormKind(NamedTuple):
    """A way to normalise.

    Attributes:
        build: `(features, *, scale_init, dtype, param_dtype, rngs, ...)`, which returns the norm.
        activates: Whether it is an activation as well, so that none follows it.
        settings: The field of a config with its further arguments, if there is one.
    """

    build: Callable[..., Any]
    activates: bool = False
    settings: str | None = None


def _average_strided(x: jax.Array, *, stride: int) -> jax.Array:
    # Rounds up, as every shortcut does. timm rounds down, and refuses the block's odd maps.
    return average_pool(x, window=stride, stride=stride)


ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "relu": relu,
    "silu": silu,
    "gelu": gelu,
}
ANTIALIASING: Mapping[str, Callable[..., jax.Array] | None] = {
    "none": None,
    "blur": blur_pool,
    "average": _average_strided,
}
ATTENTIONS: Mapping[str, Callable[..., Any]] = {
    "none": no_layer,
    "se": SqueezeExcite,
    "eca": EfficientChannelAttention,
}
BLOCKS: Mapping[str, Any] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "plain": PlainBlock,
    "preactivation_basic": PreactivationBasicBlock,
    "preactivation_bottleneck": PreactivationBottleneck,
}
CONVOLUTIONS: Mapping[str, Callable[..., nnx.Conv]] = {
    "plain": conv,
    "standardized": standardized_conv,
}
NORMS: Mapping[str, NormKind] = {
    "batch": NormKind(BatchNorm, settings="batch_norm"),
    "group": NormKind(group_norm),
    "evonorm_s0": NormKind(EvoNormS0, activates=True),
    "frn_tlu": NormKind(FilterResponseNorm, activates=True),
}
SHORTCUTS: Mapping[str, Callable[..., Any]] = {
    "a": shortcut_a,
    "b": shortcut_b,
    "c": shortcut_c,
    "d": shortcut_d,
    "b3x3": shortcut_b3x3,
}

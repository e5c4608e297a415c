"""The parts that blocks are composed of."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.blocks.shortcut import LayerFactory, Shortcut, identity, no_layer, shortcut_b
from resnet_jax.layers import BatchNorm, Bound, LayerSettings, conv, relu

# Flax's names of arguments of blocks.
_FLAX = {"strides": "stride", "kernel_dilation": "dilation", "feature_group_count": "groups"}


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a block builds its layers with; the defaults are those of He et al. 2015.

    Attributes:
        conv: `(in_features, features, kernel_size, *, stride, dilation, groups, kernel_init, ...)`.
        norm: `(features, *, scale_init, ...)`.
        act: The non-linearity.
        shortcut: `(in_features, features, *, stride, dilation, first_dilation, conv, norm)`.
        attention: `(features, ...)`, applied to the end of each residual branch.
        antialias: `(x, *, stride)`, the pool that strides instead of a block's convolution
            (Zhang 2019, https://arxiv.org/abs/1904.11486).
        zero_init_last: Start the last scale of each residual branch at zero, so that each block
            starts as its shortcut (Goyal et al. 2017, https://arxiv.org/abs/1706.02677); of
            branches that end in a convolution its kernel.
    """

    conv: LayerFactory = conv
    norm: LayerFactory = BatchNorm
    act: Callable[[jax.Array], jax.Array] = relu
    shortcut: Callable[..., Shortcut] = shortcut_b
    attention: LayerFactory = no_layer
    antialias: Callable[..., jax.Array] | None = None
    zero_init_last: bool = False

    def bind(self, **settings: Unpack[LayerSettings]) -> "Parts":
        """Returns parts whose layers know their dtypes and their source of randomness.

        Without settings the parts have to be bound already, and stay as they are.

        Raises:
            TypeError: A setting is not one of `LayerSettings`: a block has no such argument.
        """
        if unknown := settings.keys() - LayerSettings.__annotations__.keys():
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}{_remedy(min(unknown))}")
        if not settings:
            return self
        settings = {"dtype": None, "param_dtype": jnp.float32, **settings}
        conv = functools.partial(self.conv, **settings)
        norm = functools.partial(self.norm, **settings)
        shortcut = functools.partial(self.shortcut, conv=conv, norm=norm)
        attention = functools.partial(self.attention, **settings)
        return dataclasses.replace(
            self, conv=conv, norm=norm, shortcut=shortcut, attention=attention
        )

    def bare(self) -> "Parts":
        """Returns parts without norm and activation."""
        return dataclasses.replace(self, norm=no_layer, act=identity)

    def striding(
        self, stride: int, *, dilation: int, first_dilation: int
    ) -> tuple[int, Callable[[jax.Array], jax.Array]]:
        """Returns the stride of a block's striding convolution, and what follows its activation.

        Args:
            stride: Stride of the block.
            dilation: Dilation of the block's output.
            first_dilation: Dilation of the block's input. Where both differ, a dilation has taken
                the place of the block's stride: the pool stays, without striding.
        """
        if self.antialias is None or (stride == 1 and dilation == first_dilation):
            return stride, identity
        return 1, Bound(self.antialias, stride=stride)

    def last_norm(self, features: int) -> Any:
        """Builds the norm that ends a residual branch (of bound parts)."""
        if self.zero_init_last:
            return self.norm(features, scale_init=nnx.initializers.zeros)
        return self.norm(features)

    def last_conv(
        self,
        in_features: int,
        features: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        groups: int = 1,
    ) -> Any:
        """Builds the convolution that ends a residual branch without a norm (of bound parts)."""
        build = functools.partial(self.conv, dilation=dilation, groups=groups)
        if self.zero_init_last:
            return build(in_features, features, kernel_size, kernel_init=nnx.initializers.zeros)
        return build(in_features, features, kernel_size)


def _remedy(name: str) -> str:
    """Says where an argument belongs that blocks do not take."""
    if name in (field.name for field in dataclasses.fields(Parts)):
        return f"; it is one of the block's parts: parts=Parts({name}=...)"
    return f"; did you mean {_FLAX[name]!r}?" if name in _FLAX else ""

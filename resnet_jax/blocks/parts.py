"""The parts that blocks are composed of."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.blocks.shortcut import LayerFactory, Shortcut, identity, shortcut_b
from resnet_jax.layers import BatchNorm, conv


def no_attention(features: int, **settings: object) -> Callable[[jax.Array], jax.Array]:
    """Builds the identity, whatever the features and dtypes are."""
    del features, settings
    return identity


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a block builds its layers with; the defaults are those of He et al. 2015.

    Attributes:
        conv: `(in_features, features, kernel_size, *, stride, dilation, groups, ...)`.
        norm: `(features, *, scale_init, ...)`.
        act: the non-linearity.
        shortcut: `(in_features, features, *, stride, conv, norm)`.
        attention: `(features, ...)`, applied to the end of each residual branch.
        antialias: `(*, stride)`, the pool that strides in the place of a block's convolution
            (Zhang 2019, https://arxiv.org/abs/1904.11486).
        zero_init_last: start the last scale of each residual branch at zero, so that each block
            starts as its shortcut (Goyal et al. 2017, https://arxiv.org/abs/1706.02677).
    """

    conv: LayerFactory = conv
    norm: LayerFactory = BatchNorm
    act: Callable[[jax.Array], jax.Array] = nnx.relu
    shortcut: Callable[..., Shortcut] = shortcut_b
    attention: LayerFactory = no_attention
    antialias: LayerFactory | None = None
    zero_init_last: bool = False

    def bind(
        self, *, dtype: DTypeLike | None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs
    ) -> "Parts":
        """Returns parts whose layers know their dtypes and their source of randomness."""
        settings = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        conv = functools.partial(self.conv, **settings)
        norm = functools.partial(self.norm, **settings)
        shortcut = functools.partial(self.shortcut, conv=conv, norm=norm)
        attention = functools.partial(self.attention, **settings)
        return dataclasses.replace(
            self, conv=conv, norm=norm, shortcut=shortcut, attention=attention
        )

    def striding(self, stride: int) -> tuple[int, Callable[[jax.Array], jax.Array]]:
        """Returns the stride of a block's striding convolution, and what follows its activation."""
        if self.antialias is None or stride == 1:
            return stride, identity
        return 1, self.antialias(stride=stride)

    def last_norm(self, features: int) -> Callable[[jax.Array], jax.Array]:
        """Builds the norm that ends a residual branch (of bound parts)."""
        if self.zero_init_last:
            return self.norm(features, scale_init=nnx.initializers.zeros)
        return self.norm(features)

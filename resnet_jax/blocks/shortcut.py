"""Shortcuts: what a residual block adds its branch to.

A shortcut is built by a function `(in_features, features, *, stride, dilation, first_dilation,
conv, norm)`, in which `conv` and `norm` build layers and know the dtypes already, and the dilations
are those of the block. Options A, B and C are those of He et al.
2015, section 4.1 (https://arxiv.org/abs/1512.03385); option D is the ResNet-D of He et al. 2018,
figure 2c (https://arxiv.org/abs/1812.01187).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers import Bound, average_pool, convolve_and_normalize

# Layers and shortcuts are Any to type checkers: what they have besides a call depends on the parts
# that were chosen, and surgery may exchange them.
LayerFactory = Callable[..., Any]
Shortcut = Any


def identity(x: jax.Array) -> jax.Array:
    """Returns x."""
    return x


def no_layer(features: int, **settings: object) -> Callable[[jax.Array], jax.Array]:
    """Builds the identity, instead of a norm or of attention."""
    del features, settings
    return identity


class PadShortcut(nnx.Module):
    """Takes every `stride`-th pixel and fills the new features with zeros: no parameters.

    Half of the zeros go before the features, and the larger half after them.
    """

    def __init__(self, in_features: int, features: int, *, stride: int) -> None:
        """Builds the shortcut.

        Raises:
            ValueError: There are fewer features to come than there are.
        """
        if features < in_features:
            raise ValueError(
                f"shortcut A pads with zeros and cannot go from {in_features} features to "
                f"{features}; use shortcut B."
            )
        self.stride = stride
        self.before = (features - in_features) // 2
        self.after = features - in_features - self.before

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, height, width, in_features] to the block's output shape."""
        x = x[:, :: self.stride, :: self.stride, :]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (self.before, self.after)))


class Projection(nnx.Module):
    """A convolution, 1x1 as a rule, and a norm.

    Attributes:
        conv: The convolution, which strides.
        norm: The norm.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        conv: LayerFactory,
        norm: LayerFactory,
        kernel_size: int = 1,
        dilation: int = 1,
    ) -> None:
        """Builds the shortcut."""
        self.conv = conv(in_features, features, kernel_size, stride=stride, dilation=dilation)
        self.norm = norm(features)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, height, width, in_features] to the block's output shape."""
        return convolve_and_normalize(self.conv, self.norm, x)


class PooledProjection(Projection):
    """A projection which loses no pixel: a 2x2 average pool strides, not the convolution.

    Attributes:
        pool: The pool, or the identity where nothing strides.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        stride: int,
        dilation: int = 1,
        conv: LayerFactory,
        norm: LayerFactory,
    ) -> None:
        """Builds the shortcut; a dilated block pools as well, without striding."""
        super().__init__(in_features, features, stride=1, conv=conv, norm=norm)
        self.pool: Callable[[jax.Array], jax.Array] = identity
        if stride > 1 or dilation > 1:
            # timm pads the pool of a dilated block with zeros, and counts them.
            self.pool = Bound(average_pool, stride=stride, count_padding=stride == 1)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [batch, height, width, in_features] to the block's output shape."""
        return super().__call__(self.pool(x))


def shortcut_a(
    in_features: int,
    features: int,
    *,
    stride: int,
    dilation: int = 1,
    first_dilation: int = 1,
    conv: LayerFactory,
    norm: LayerFactory,
) -> Shortcut:
    """Builds option A: identity, and where the shape changes a subsampled, zero-padded one."""
    del dilation, first_dilation, conv, norm
    if stride == 1 and in_features == features:
        return identity
    return PadShortcut(in_features, features, stride=stride)


def shortcut_b(
    in_features: int,
    features: int,
    *,
    stride: int,
    dilation: int = 1,
    first_dilation: int = 1,
    conv: LayerFactory,
    norm: LayerFactory,
) -> Shortcut:
    """Builds option B: identity, and where the shape changes a projection."""
    del dilation, first_dilation
    if stride == 1 and in_features == features:
        return identity
    return Projection(in_features, features, stride=stride, conv=conv, norm=norm)


def shortcut_b3x3(
    in_features: int,
    features: int,
    *,
    stride: int,
    dilation: int = 1,
    first_dilation: int = 1,
    conv: LayerFactory,
    norm: LayerFactory,
) -> Shortcut:
    """Builds SENet-154's option B: the projections that stride are 3x3."""
    if stride == 1 and dilation == 1:
        return shortcut_b(in_features, features, stride=stride, conv=conv, norm=norm)
    if stride == 1 and in_features == features:
        return identity
    return Projection(
        in_features,
        features,
        stride=stride,
        kernel_size=3,
        dilation=first_dilation,
        conv=conv,
        norm=norm,
    )


def shortcut_c(
    in_features: int,
    features: int,
    *,
    stride: int,
    dilation: int = 1,
    first_dilation: int = 1,
    conv: LayerFactory,
    norm: LayerFactory,
) -> Shortcut:
    """Builds option C: a projection in every block."""
    del dilation, first_dilation
    return Projection(in_features, features, stride=stride, conv=conv, norm=norm)


def shortcut_d(
    in_features: int,
    features: int,
    *,
    stride: int,
    dilation: int = 1,
    first_dilation: int = 1,
    conv: LayerFactory,
    norm: LayerFactory,
) -> Shortcut:
    """Builds option D: identity, and where the shape changes a projection of pooled pixels."""
    del first_dilation
    if stride == 1 and in_features == features:
        return identity
    return PooledProjection(
        in_features, features, stride=stride, dilation=dilation, conv=conv, norm=norm
    )

"""Stems: from images to the first stage."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.blocks import Parts, identity
from resnet_jax.layers import average_pool, blur_pool, max_pool


class Pool(NamedTuple):
    """What follows a stem's map.

    Attributes:
        build: `(features, *, parts)`, which returns the pool.
        stride: Rows before the pool per row behind it.
    """

    build: Callable[..., Callable[[jax.Array], jax.Array]]
    stride: int


class StemKind(NamedTuple):
    """A way of getting from images to a map.

    Attributes:
        build: `(in_features, features, *, stride, pool, parts, last)`, which returns the stem.
        stride: Rows of the image per row of the map before the pool.
        pool: Name of the usual pool, a key of `STEM_POOLS`.
    """

    build: "Callable[..., Stem | DeepStem]"
    stride: int
    pool: str


class Stem(nnx.Module):
    """A convolution with norm and activation, and the pool behind it.

    Attributes:
        conv: The convolution.
        norm: The norm.
        pool: What follows; apart from the call, so that the map before it can be had as well.
        stride: Rows of the image per row of the map before the pool.
        pool_stride: Rows before the pool per row behind it.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        kernel_size: int,
        stride: int,
        pool: Pool,
        parts: Parts,
        last: Parts,
    ) -> None:
        """Builds the stem.

        Args:
            in_features: Channels of the images.
            features: Channels of the map.
            kernel_size: Height and width of the kernel.
            stride: Step of the convolution.
            pool: What follows.
            parts: Bound parts.
            last: Those of the last norm and activation: bare ones before pre-activation blocks.
        """
        self.conv = parts.conv(in_features, features, kernel_size, stride=stride)
        self.norm = last.norm(features)
        self.act = last.act
        self.pool = pool.build(features, parts=parts)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images [batch, height, width, channels] to the map before the pool."""
        return self.act(self.norm(self.conv(x)))


class DeepStem(nnx.Module):
    """Three 3x3 convolutions with norms and activations in the place of one of 7x7.

    Attributes:
        conv1: Strides by 2.
        norm1: Norm, followed by the activation.
        conv2: 3x3.
        norm2: Norm, followed by the activation.
        conv3: 3x3, to the stem's features.
        norm3: Norm, followed by the activation.
        pool: What follows; apart from the call, so that the map before it can be had as well.
        stride: Rows of the image per row of the map before the pool.
        pool_stride: Rows before the pool per row behind it.

    References:
        He et al. 2018, figure 2b, https://arxiv.org/abs/1812.01187.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        ratios: tuple[float, float],
        stride: int,
        pool: Pool,
        parts: Parts,
        last: Parts,
    ) -> None:
        """Builds the stem; arguments as for `Stem`.

        `ratios` are the channels of the first two convolutions per channel of the third.
        """
        first, second = (int(features * ratio) for ratio in ratios)
        self.conv1 = parts.conv(in_features, first, 3, stride=stride)
        self.norm1 = parts.norm(first)
        self.conv2 = parts.conv(first, second, 3)
        self.norm2 = parts.norm(second)
        self.conv3 = parts.conv(second, features, 3)
        self.norm3 = last.norm(features)
        self.act = parts.act
        self.last_act = last.act
        self.pool = pool.build(features, parts=parts)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images [batch, height, width, channels] to the map before the pool."""
        x = self.act(self.norm1(self.conv1(x)))
        x = self.act(self.norm2(self.conv2(x)))
        return self.last_act(self.norm3(self.conv3(x)))


class ConvPool(nnx.Module):
    """A strided 3x3 convolution with norm and activation in the place of a pool.

    Attributes:
        conv: The convolution.
        norm: The norm.

    References:
        Bello et al. 2021, section 5.1, https://arxiv.org/abs/2103.07579.
    """

    def __init__(self, features: int, *, parts: Parts) -> None:
        """Builds the layer of bound parts."""
        self.conv = parts.conv(features, features, 3, stride=2)
        self.norm = parts.norm(features)
        self.act = parts.act

    def __call__(self, x: jax.Array) -> jax.Array:
        """Halves [batch, height, width, features]."""
        return self.act(self.norm(self.conv(x)))


def _max_and_blur(x: jax.Array) -> jax.Array:
    return blur_pool(max_pool(x, window=3, stride=1), stride=2)


def _zero_padded_max(x: jax.Array) -> jax.Array:
    # BiT pads with zeros, which count: before pre-activation blocks values may all be negative.
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return nnx.max_pool(padded, window_shape=(3, 3), strides=(2, 2))


def _without_parameters(
    features: int, *, parts: Parts, pool: Callable[[jax.Array], jax.Array]
) -> Callable[[jax.Array], jax.Array]:
    del features, parts
    return pool


def _fixed(pool: Callable[[jax.Array], jax.Array], stride: int = 2) -> Pool:
    return Pool(functools.partial(_without_parameters, pool=pool), stride)


STEM_POOLS: Mapping[str, Pool] = {
    "none": _fixed(identity, stride=1),
    "max": _fixed(functools.partial(max_pool, window=3, stride=2)),
    "zero_padded_max": _fixed(_zero_padded_max),
    "max_and_blur": _fixed(_max_and_blur),
    "average": _fixed(functools.partial(average_pool, stride=2)),
    "conv": Pool(ConvPool, 2),
}

STEMS: Mapping[str, StemKind] = {
    "cifar": StemKind(functools.partial(Stem, kernel_size=3), stride=1, pool="none"),
    "imagenet": StemKind(functools.partial(Stem, kernel_size=7), stride=2, pool="max"),
    "deep": StemKind(functools.partial(DeepStem, ratios=(1 / 2, 1 / 2)), stride=2, pool="max"),
    "tiered": StemKind(functools.partial(DeepStem, ratios=(3 / 8, 1 / 2)), stride=2, pool="max"),
}

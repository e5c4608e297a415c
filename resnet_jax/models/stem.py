"""Stems: from images to the first stage."""

import functools
from collections.abc import Callable

import jax
from flax import nnx

from resnet_jax.blocks import Parts, identity
from resnet_jax.layers import max_pool


class Stem(nnx.Module):
    """A convolution with norm and activation, and the pool behind it.

    Attributes:
        conv: the convolution.
        norm: the norm.
        pool: what follows; apart from the call, so that the map before it can be had as well.
        stride: rows of the image per row of the map before the pool.
        pool_stride: rows before the pool per row behind it.
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        kernel_size: int,
        stride: int,
        pool: Callable[[jax.Array], jax.Array],
        pool_stride: int,
        parts: Parts,
    ) -> None:
        """Builds the stem of bound parts."""
        self.conv = parts.conv(in_features, features, kernel_size, stride=stride)
        self.norm = parts.norm(features)
        self.act = parts.act
        self.pool = pool
        self.stride = stride
        self.pool_stride = pool_stride

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images [batch, height, width, channels] to the map before the pool."""
        return self.act(self.norm(self.conv(x)))


def imagenet_stem(in_features: int, features: int, *, parts: Parts) -> Stem:
    """Builds He et al.'s stem: 7x7 with stride 2, and a 3x3 max-pool with stride 2."""
    return Stem(
        in_features,
        features,
        kernel_size=7,
        stride=2,
        pool=functools.partial(max_pool, window=3, stride=2),
        pool_stride=2,
        parts=parts,
    )


def cifar_stem(in_features: int, features: int, *, parts: Parts) -> Stem:
    """Builds the stem for small images: 3x3, no stride, no pool."""
    return Stem(
        in_features, features, kernel_size=3, stride=1, pool=identity, pool_stride=1, parts=parts
    )

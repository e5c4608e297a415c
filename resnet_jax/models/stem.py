"""Stems: from images to the first stage. `STEMS` says all that other modules know of a stem."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.blocks import Parts, identity
from resnet_jax.layers import Bound, average_pool, blur_pool, max_pool


class Pool(NamedTuple):
    """What follows a stem's map.

    Attributes:
        build: `(features, *, parts)`, which returns the pool.
        stride: Rows before the pool per row after it.
        torch_names: The attributes that hold its layers, and their names in timm.
    """

    build: Callable[..., Callable[[jax.Array], jax.Array]]
    stride: int
    torch_names: tuple[tuple[str, str], ...] = ()


class StemKind(NamedTuple):
    """A way of getting from images to a map.

    Attributes:
        build: `(in_features, features, *, stride, pool, parts, last)`, which returns the stem.
        stride: Rows of the image per row of the map before the pool.
        pool: Name of the usual pool, a key of `STEM_POOLS`.
        torch_names: The attributes that hold its layers, the first of which sees the images, and
            their names in timm and torchvision.
        image_size: Rows and columns of the images that its networks are used with.
        crop_fraction: Share of the shorter side that the centre crop of such an image keeps.
    """

    build: "Callable[..., AnyStem]"
    stride: int
    pool: str
    torch_names: tuple[tuple[str, str], ...]
    image_size: int = 224
    crop_fraction: float = 0.875


class AnyStem(nnx.Module):
    """What all stems have in common: a new one sets the attributes and defines `responses`.

    Attributes:
        last_act: The last activation; identity before pre-activation blocks.
        pool: The pool, which is not part of the call: the map before it is a feature as well.
    """

    last_act: Callable[[jax.Array], jax.Array]
    pool: Callable[[jax.Array], jax.Array]

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps images [batch, height, width, channels] to the map before the pool."""
        return self.last_act(self.responses(x)[-1])

    def responses(self, x: jax.Array) -> list[jax.Array]:
        """Returns what each convolution responds to images, after its norm."""
        raise NotImplementedError


class Stem(AnyStem):
    """A convolution with norm and activation, and the pool that follows.

    Attributes:
        conv: The convolution.
        norm: The norm.
        last_act: The activation; identity before pre-activation blocks.
        pool: The pool, which is not part of the call: the map before it is a feature as well.
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
            pool: The pool that follows.
            parts: Bound parts.
            last: Those of the last norm and activation: bare ones before pre-activation blocks.
        """
        self.conv = parts.conv(in_features, features, kernel_size, stride=stride)
        self.norm = last.norm(features)
        self.last_act = last.act
        self.pool = pool.build(features, parts=parts)

    def responses(self, x: jax.Array) -> list[jax.Array]:
        """Returns each convolution's output after its norm; see `AnyStem`."""
        return [self.norm(self.conv(x))]


class DeepStem(AnyStem):
    """Three 3x3 convolutions with norms and activations instead of one of 7x7.

    Attributes:
        conv1: Strides by 2.
        norm1: Norm, followed by the activation.
        conv2: 3x3.
        norm2: Norm, followed by the activation.
        conv3: 3x3, to the stem's features.
        norm3: Norm, followed by the last activation.
        act: The activation after the first two norms.

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

    def responses(self, x: jax.Array) -> list[jax.Array]:
        """Returns each convolution's output after its norm; see `AnyStem`."""
        first = self.norm1(self.conv1(x))
        second = self.norm2(self.conv2(self.act(first)))
        return [first, second, self.norm3(self.conv3(self.act(second)))]


class ConvPool(nnx.Module):
    """A strided 3x3 convolution with norm and activation instead of a pool.

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
    "max": _fixed(Bound(max_pool, window=3, stride=2)),
    "zero_padded_max": _fixed(_zero_padded_max),
    "max_and_blur": _fixed(_max_and_blur),
    # timm drops the last row of an odd map here; the average pools of its shortcuts keep it.
    "average": _fixed(Bound(average_pool, stride=2, partial_windows=False)),
    "conv": Pool(ConvPool, 2, torch_names=(("conv", "maxpool.0"), ("norm", "maxpool.1"))),
}

_ONE = (("conv", "conv1"), ("norm", "bn1"))
# PyTorch numbers the layers of its Sequential, activations included.
_THREE = (
    ("conv1", "conv1.0"),
    ("norm1", "conv1.1"),
    ("conv2", "conv1.3"),
    ("norm2", "conv1.4"),
    ("conv3", "conv1.6"),
    ("norm3", "bn1"),
)

STEMS: Mapping[str, StemKind] = {
    "cifar": StemKind(
        functools.partial(Stem, kernel_size=3),
        stride=1,
        pool="none",
        torch_names=_ONE,
        image_size=32,
        crop_fraction=1.0,
    ),
    "imagenet": StemKind(
        functools.partial(Stem, kernel_size=7), stride=2, pool="max", torch_names=_ONE
    ),
    "deep": StemKind(
        functools.partial(DeepStem, ratios=(1 / 2, 1 / 2)),
        stride=2,
        pool="max",
        torch_names=_THREE,
    ),
    "tiered": StemKind(
        functools.partial(DeepStem, ratios=(3 / 8, 1 / 2)),
        stride=2,
        pool="max",
        torch_names=_THREE,
    ),
}

"""The trunk of a network, which turns images into maps."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers import compute_once
from resnet_jax.models.config import ResNetConfig
from resnet_jax.models.tables import Block


class FeatureInfo(NamedTuple):
    """The map after the stem (index 0) or a stage: its channels, and image rows per row of it."""

    features: int
    stride: int


class Trunk(nnx.Module):
    """A stem and stages of blocks.

    Attributes:
        config: The network that they belong to.
        stem: From images to the first stage.
        stages: Lists of blocks.
        feature_info: Channels and stride of each map.
    """

    config: ResNetConfig
    stem: Any  # an `AnyStem`, whose layers depend on its kind
    stages: nnx.List[nnx.List[Block]]
    feature_info: tuple[FeatureInfo, ...]

    @property
    def num_features(self) -> int:
        """Channels of the last map."""
        return self.feature_info[-1].features

    def set_remat(self, enable: bool = True) -> None:
        """Switches `remat` on or off in a network that is built; see `ResNetConfig`."""
        self.config = dataclasses.replace(self.config, remat=enable)

    def features(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps after the stem (before its pool) and after each stage.

        Those of pre-activation networks are neither normalised nor activated.

        Args:
            x: Normalised images [batch, height, width, in_features].
            rngs: Its stream `dropout` feeds stochastic depth; needed only for that, in training.

        Raises:
            ValueError: x is not [batch, height, width, in_features], has no pixels, or holds
                integers.
        """
        return self._maps(x, rngs, len(self.stages))

    def _maps(self, x: jax.Array, rngs: nnx.Rngs | None, stages: int) -> list[jax.Array]:
        """Returns the maps after the stem and after so many stages."""
        _check_images(x, self.config.in_features)
        # On a CPU, XLA would otherwise repeat each block's sum in everything that reads it.
        run = nnx.remat(_run) if self.config.remat else _run
        maps = [self.stem(x)]
        x = self.stem.pool(maps[0])
        for blocks in list(self.stages)[:stages]:
            for block in blocks:
                x = compute_once(run(block, x, rngs))
            maps.append(x)
        return maps


def _check_images(x: jax.Array, in_features: int) -> None:
    if x.ndim != 4 or x.shape[-1] != in_features:
        raise ValueError(
            f"expected images [batch, height, width, {in_features}], got {list(x.shape)}; axes are "
            f"NHWC, and in_features says how many channels there are."
        )
    if 0 in x.shape[1:3]:
        raise ValueError(
            f"images {list(x.shape)} have no pixels; height and width must be at least 1."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"expected normalised images in floating point, got {x.dtype}; "
            f"resnet_jax.preprocessing turns pixels into a network's input."
        )


def _run(block: Block, x: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
    return block(x, rngs=rngs)

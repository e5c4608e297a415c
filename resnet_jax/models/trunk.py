"""The part of a network that turns images into maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
from flax import nnx

from resnet_jax.errors import ConfigError
from resnet_jax.models.stem import DeepStem, Stem
from resnet_jax.models.tables import Block

if TYPE_CHECKING:
    from resnet_jax.models.config import ResNetConfig


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

    config: "ResNetConfig"
    stem: Stem | DeepStem
    stages: nnx.List[nnx.List[Block]]
    feature_info: tuple[FeatureInfo, ...]

    def features(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps after the stem (before its pool) and after each stage.

        Those of pre-activation networks are neither normalised nor activated.

        Args:
            x: Normalised images [batch, height, width, in_features].
            rngs: Its stream `dropout` feeds stochastic depth; needed only for that, in training.

        Raises:
            ValueError: x is not [batch, height, width, in_features].
        """
        if x.ndim != 4 or x.shape[-1] != self.config.in_features:
            raise ValueError(
                f"expected images [batch, height, width, {self.config.in_features}], got "
                f"{list(x.shape)}; axes are NHWC, and in_features says how many channels there are."
            )
        run = nnx.remat(_run) if self.config.remat else _run
        maps = [self.stem(x)]
        x = self.stem.pool(maps[0])
        for blocks in self.stages:
            for block in blocks:
                x = run(block, x, rngs)
            maps.append(x)
        return maps


class Backbone(Trunk):
    """The trunk of a network without its head: images to maps, for detectors and the like.

    Attributes:
        stem: From images to the first stage.
        stages: Lists of blocks, up to the last map that is wanted.
        out_indices: Which maps the call returns: 0 after the stem, 1 after the first stage.
        feature_info: Channels and stride of each map that the call returns.
    """

    def __init__(self, network: Trunk, *, out_indices: Sequence[int] | None = None) -> None:
        """Takes the stem and the stages of a network; their parameters are shared.

        Args:
            network: Such as a `ResNet`.
            out_indices: Which maps the call returns; -1 is the last; None returns all.

        Raises:
            ConfigError: There is no map of an index, or none is wanted.
        """
        info = network.feature_info
        self.out_indices = _resolve(range(len(info)) if out_indices is None else out_indices, info)
        self.config = network.config
        self.stem = network.stem
        self.stages = nnx.List(list(network.stages)[: self.out_indices[-1]])
        self.feature_info = tuple(info[index] for index in self.out_indices)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps of `out_indices`, in the order of depth. See `features`."""
        maps = self.features(x, rngs=rngs)
        return [maps[index] for index in self.out_indices]


def _run(block: Block, x: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
    return block(x, rngs=rngs)


def _resolve(indices: Sequence[int], info: Sequence[FeatureInfo]) -> tuple[int, ...]:
    for index in indices:
        if not -len(info) <= index < len(info):
            raise ConfigError(
                f"out_indices={tuple(indices)}: there is no map {index}; the network has "
                f"{len(info)}, from 0 after the stem to {len(info) - 1} after the last stage."
            )
    if not indices:
        raise ConfigError("out_indices=() asks for no map; name at least one.")
    return tuple(sorted({index % len(info) for index in indices}))

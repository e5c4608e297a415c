"""The residual network: a trunk that turns images into maps, and a head."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.blocks import identity
from resnet_jax.errors import ConfigError
from resnet_jax.layers import Dropout, classifier_uniform, compute_once, global_average_pool
from resnet_jax.models.config import ResNetConfig
from resnet_jax.models.initialize import ParameterKeys
from resnet_jax.models.stem import STEM_POOLS, STEMS, AnyStem
from resnet_jax.models.tables import BLOCKS, Block


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
    stem: AnyStem
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
        # On a CPU, XLA would otherwise repeat each block's sum in everything that reads it.
        run = nnx.remat(_run) if self.config.remat else _run
        maps = [self.stem(x)]
        x = self.stem.pool(maps[0])
        for blocks in self.stages:
            for block in blocks:
                x = compute_once(run(block, x, rngs))
            maps.append(x)
        return maps


class ResNet(Trunk):
    """A residual network that a `ResNetConfig` describes.

    Attributes:
        config: What it was built from.
        stem: From images to the first stage.
        stages: Lists of blocks.
        norm: The norm that ends pre-activation networks; identity in others.
        head: The classifier; identity without classes.
        feature_info: Channels and stride of each map that `features` returns.

    References:
        He et al. 2015, https://arxiv.org/abs/1512.03385.
    """

    def __init__(
        self,
        config: ResNetConfig,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the network in training mode.

        Args:
            config: The network.
            dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
            param_dtype: Dtype in which the parameters are stored.
            rngs: The key `params` initialises the parameters.
        """
        rngs = cast(nnx.Rngs, ParameterKeys(rngs.params()))
        self.config = config
        self.param_dtype = param_dtype
        parts = config.parts().bind(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        # Pre-activation moves a norm with its activation from the stem to the end.
        early, late = (parts.bare(), parts) if config.preactivation else (parts, parts.bare())
        kind = STEMS[config.stem]
        self.stem = kind.build(
            config.in_features,
            config.stem_features,
            stride=kind.stride,
            pool=STEM_POOLS[config.pool],
            parts=parts,
            last=early,
        )
        features = config.stem_features
        feature_info = [FeatureInfo(features, kind.stride)]
        self.stages = nnx.List()
        for plans in config.plan():
            blocks: nnx.List[Block] = nnx.List()
            for name, width, _, options in plans:
                blocks.append(BLOCKS[name](features, width, parts=parts, **options))
                features = width
            self.stages.append(blocks)
            feature_info.append(FeatureInfo(features, plans[-1].scale))
        self.feature_info = tuple(feature_info)
        self.norm = late.norm(features)
        self.act = late.act
        self.dropout = Dropout(config.dropout_rate)
        self.reset_classifier(config.num_classes, rngs=rngs)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Classifies images.

        Args:
            x: Normalised images [batch, height, width, in_features].
            rngs: Its stream `dropout` feeds dropout and stochastic depth; needed only for these,
                in training.

        Returns:
            Logits [batch, num_classes], float32.
        """
        return self.forward_head(self.features(x, rngs=rngs)[-1], rngs=rngs)

    def forward_head(
        self, x: jax.Array, *, pre_logits: bool = False, rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        """Pools the last of `features` and classifies it.

        Args:
            x: [batch, height, width, features].
            pre_logits: Return what the classifier would get.
            rngs: Its stream `dropout` feeds the dropout.

        Returns:
            float32, [batch, num_classes], or [batch, features] before the classifier.
        """
        x = global_average_pool(self.act(self.norm(x)))
        x = self.dropout(x, rngs)
        return x if pre_logits else self.head(x)

    def reset_classifier(self, num_classes: int, *, rngs: nnx.Rngs) -> None:
        """Replaces the classifier, and changes nothing else.

        Args:
            num_classes: Outputs; 0 leaves the classifier out.
            rngs: The key `params` initialises it.

        Raises:
            ConfigError: `num_classes` is negative.
        """
        self.config = dataclasses.replace(self.config, num_classes=num_classes)
        self.head = (
            nnx.Linear(
                self.feature_info[-1].features,
                num_classes,
                param_dtype=self.param_dtype,
                kernel_init=classifier_uniform,
                rngs=rngs,
            )
            if num_classes
            else identity
        )


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

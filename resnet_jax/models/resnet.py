"""The residual network: a trunk that turns images into maps, and a head."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, cast, overload

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.blocks import identity
from resnet_jax.errors import ConfigError, shown
from resnet_jax.layers import GLOBAL_POOLS, Dropout, classifier_uniform
from resnet_jax.models.checks import check_floating
from resnet_jax.models.config import ResNetConfig
from resnet_jax.models.indices import resolve_indices
from resnet_jax.models.initialize import ParameterKeys, params_key
from resnet_jax.models.stem import STEM_POOLS, STEMS
from resnet_jax.models.tables import BLOCKS, Block
from resnet_jax.models.trunk import FeatureInfo, Trunk


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

    norm: Any
    head: Any  # an `nnx.Linear`, a function without classes, or what has replaced it

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

        Raises:
            ConfigError: `config` is not a config, or a dtype not one of floating point.
        """
        if not isinstance(config, ResNetConfig):
            raise ConfigError(
                f"ResNet takes a ResNetConfig, not {shown(repr(config))}: create_model and "
                f"model_config take names."
            )
        if dtype is not None:
            check_floating("dtype", dtype)
        check_floating("param_dtype", param_dtype)
        rngs = cast(nnx.Rngs, ParameterKeys(params_key(rngs)))
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
            float32, [batch, num_classes], or before the classifier what `global_pool` gives, such
            as [batch, features].

        Raises:
            TypeError: x is a list of maps.
        """
        if isinstance(x, list):
            raise TypeError("forward_head takes one map: forward_head(features(images)[-1]).")
        x = GLOBAL_POOLS[self.config.global_pool].apply(self.act(self.norm(x)))
        x = self.dropout(x, rngs)
        return x if pre_logits else self.head(x)

    @overload
    def forward_intermediates(
        self,
        x: jax.Array,
        indices: int | Iterable[int] | None = None,
        *,
        norm: bool = False,
        stop_early: bool = False,
        intermediates_only: Literal[False] = False,
        rngs: nnx.Rngs | None = None,
    ) -> tuple[jax.Array, list[jax.Array]]: ...

    @overload
    def forward_intermediates(
        self,
        x: jax.Array,
        indices: int | Iterable[int] | None = None,
        *,
        norm: bool = False,
        stop_early: bool = False,
        intermediates_only: Literal[True],
        rngs: nnx.Rngs | None = None,
    ) -> list[jax.Array]: ...

    def forward_intermediates(
        self,
        x: jax.Array,
        indices: int | Iterable[int] | None = None,
        *,
        norm: bool = False,
        stop_early: bool = False,
        intermediates_only: bool = False,
        rngs: nnx.Rngs | None = None,
    ) -> list[jax.Array] | tuple[jax.Array, list[jax.Array]]:
        """Returns the last map and chosen ones; arguments as in timm, maps NHWC.

        Args:
            x: Normalised images [batch, height, width, in_features].
            indices: Which maps: 0 after the stem, 1 after the first stage, -1 after the last; a
                single number takes the last so many, None takes all.
            norm: Normalise and activate the chosen last map of pre-activation networks.
            stop_early: Leave out the stages after the last map that is chosen.
            intermediates_only: Return the chosen maps without the last one.
            rngs: As for `features`.

        Returns:
            The last map, which `forward_head` takes, and the chosen ones in the order of depth.

        Raises:
            ConfigError: There is no map of an index, or none is wanted.
        """
        count = len(self.feature_info)
        if indices is None or isinstance(indices, int):
            indices = range(-count if indices is None else -indices, 0)
        wanted = resolve_indices("indices", indices, count)
        maps = self._maps(x, rngs, wanted[-1] if stop_early else len(self.stages))
        chosen = [maps[index] for index in wanted]
        if norm and wanted[-1] == count - 1:
            chosen[-1] = self.act(self.norm(chosen[-1]))
        return chosen if intermediates_only else (maps[-1], chosen)

    @property
    def num_classes(self) -> int:
        """Outputs of the classifier that was built; 0 without one."""
        return self.config.num_classes

    @property
    def global_pool(self) -> str:
        """How the last map is pooled; see `ResNetConfig`."""
        return self.config.global_pool

    def reset_classifier(
        self, num_classes: int, *, global_pool: str | None = None, rngs: nnx.Rngs | None = None
    ) -> None:
        """Replaces the classifier, and changes nothing else.

        Args:
            num_classes: Outputs; 0 leaves the classifier out.
            global_pool: What comes before it, as in `ResNetConfig`; None keeps the pool.
            rngs: The key `params` initialises it; None takes `nnx.Rngs(0)`.

        Raises:
            ConfigError: `num_classes` is negative, or does not go with the pool.
        """
        pool = self.config.global_pool if global_pool is None else global_pool
        self.config = dataclasses.replace(self.config, num_classes=num_classes, global_pool=pool)
        num_classes = self.config.num_classes
        # Flax asks to be told, where a function gives way to a layer.
        self.head = (
            nnx.data(
                nnx.Linear(
                    self.num_features * GLOBAL_POOLS[pool].factor,
                    num_classes,
                    param_dtype=self.param_dtype,
                    kernel_init=classifier_uniform,
                    rngs=nnx.Rngs(0) if rngs is None else rngs,
                )
            )
            if num_classes
            else nnx.static(identity)
        )

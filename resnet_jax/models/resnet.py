"""The residual network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers import Dropout, global_average_pool
from resnet_jax.models.config import BLOCKS, STEMS, Block, ResNetConfig

# Uniform in +-1/sqrt(features), as PyTorch initialises the classifiers of the published networks.
_head_init = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class FeatureInfo(NamedTuple):
    """The map after the stem (index 0) or a stage: its channels, and image rows per row of it."""

    features: int
    stride: int


class ResNet(nnx.Module):
    """A residual network that a `ResNetConfig` describes.

    Attributes:
        stem: From images to the first stage.
        stages: Lists of blocks.
        head: The classifier.
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
        self.config = config
        parts = config.parts()
        bound = parts.bind(dtype=dtype, param_dtype=param_dtype, rngs=rngs)
        self.stem = STEMS[config.stem](config.in_features, config.stem_features, parts=bound)
        self.feature_info = [FeatureInfo(config.stem_features, self.stem.stride)]
        self.stages: nnx.List[nnx.List[Block]] = nnx.List()
        features, scale = config.stem_features, self.stem.stride * self.stem.pool_stride
        built, last = 0, max(sum(config.depths) - 1, 1)
        for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True)):
            blocks: nnx.List[Block] = nnx.List()
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                block = BLOCKS[config.block](
                    features,
                    width,
                    stride=stride,
                    parts=parts,
                    dtype=dtype,
                    param_dtype=param_dtype,
                    rngs=rngs,
                    **config.block_options(width, position=built / last),
                )
                blocks.append(block)
                features, scale, built = width, scale * stride, built + 1
            self.stages.append(blocks)
            self.feature_info.append(FeatureInfo(features, scale))
        self.dropout = Dropout(config.dropout_rate)
        self.head = nnx.Linear(
            features,
            config.num_classes,
            param_dtype=param_dtype,
            kernel_init=_head_init,
            rngs=rngs,
        )

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

    def features(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps after the stem (before its pool) and after each stage.

        Raises:
            ValueError: X is not [batch, height, width, in_features].
        """
        if x.ndim != 4 or x.shape[-1] != self.config.in_features:
            raise ValueError(
                f"expected images [batch, height, width, {self.config.in_features}], got "
                f"{list(x.shape)}; axes are NHWC, and in_features says how many channels there are."
            )
        maps = [self.stem(x)]
        x = self.stem.pool(maps[0])
        for blocks in self.stages:
            for block in blocks:
                x = block(x, rngs=rngs)
            maps.append(x)
        return maps

    def forward_head(
        self, x: jax.Array, *, pre_logits: bool = False, rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        """Pools the last map and classifies it.

        Args:
            x: [batch, height, width, features].
            pre_logits: Return what the classifier would get.
            rngs: Its stream `dropout` feeds the dropout.

        Returns:
            float32, [batch, num_classes], or [batch, features] before the classifier.
        """
        x = self.dropout(global_average_pool(x), rngs)
        return x if pre_logits else self.head(x)

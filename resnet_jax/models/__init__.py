"""Models: the composed network and its description. Imports jax and flax only."""

from resnet_jax.models.backbone import Backbone
from resnet_jax.models.batch_norm import BatchNormConfig
from resnet_jax.models.config import ResNetConfig
from resnet_jax.models.growth import grow
from resnet_jax.models.plan import BlockPlan
from resnet_jax.models.resnet import ResNet
from resnet_jax.models.stem import AnyStem, DeepStem, Stem
from resnet_jax.models.trunk import FeatureInfo

__all__ = [
    "AnyStem",
    "Backbone",
    "BatchNormConfig",
    "BlockPlan",
    "DeepStem",
    "FeatureInfo",
    "ResNet",
    "ResNetConfig",
    "Stem",
    "grow",
]

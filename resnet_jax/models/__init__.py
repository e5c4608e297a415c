"""Models: the composed network and its description. Imports jax and flax only."""

from resnet_jax.models.config import BatchNormConfig, ResNetConfig
from resnet_jax.models.resnet import FeatureInfo, ResNet
from resnet_jax.models.stem import Stem

__all__ = ["BatchNormConfig", "FeatureInfo", "ResNet", "ResNetConfig", "Stem"]

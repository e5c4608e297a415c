"""Deep residual networks in JAX and Flax."""

from resnet_jax import linen
from resnet_jax.blocks import BasicBlock, Bottleneck, Parts, PlainBlock, ResidualBlock
from resnet_jax.errors import ConfigError
from resnet_jax.layers import BatchNorm, conv1x1, conv3x3
from resnet_jax.models import BatchNormConfig, ResNet, ResNetConfig
from resnet_jax.pure import functional
from resnet_jax.weights import create_model, load, save
from resnet_jax.zoo import list_models, model_config

__version__ = "0.1.0"

__all__ = [
    "BasicBlock",
    "BatchNorm",
    "BatchNormConfig",
    "Bottleneck",
    "ConfigError",
    "Parts",
    "PlainBlock",
    "ResNet",
    "ResNetConfig",
    "ResidualBlock",
    "conv1x1",
    "conv3x3",
    "create_model",
    "functional",
    "linen",
    "list_models",
    "load",
    "model_config",
    "save",
]

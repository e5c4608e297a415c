"""Deep residual networks in JAX and Flax.

What is not used is not imported (PEP 562): a block loads jax and flax and nothing else.
"""

from typing import TYPE_CHECKING

from resnet_jax.lazy import lazy_names

if TYPE_CHECKING:
    from resnet_jax import linen
    from resnet_jax.blocks import BasicBlock, Bottleneck, Parts, PlainBlock, ResidualBlock
    from resnet_jax.errors import ConfigError
    from resnet_jax.inference.preprocess import preprocessing
    from resnet_jax.interop.pure import functional
    from resnet_jax.layers import BatchNorm, conv1x1, conv3x3
    from resnet_jax.models import Backbone, BatchNormConfig, ResNet, ResNetConfig, grow
    from resnet_jax.weights import WeightsError, create_model, load, load_torch, save, to_torch
    from resnet_jax.zoo import list_models, list_pretrained, model_config

__version__ = "0.1.0"

__all__ = [
    "Backbone",
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
    "WeightsError",
    "conv1x1",
    "conv3x3",
    "create_model",
    "functional",
    "grow",
    "linen",
    "list_models",
    "list_pretrained",
    "load",
    "load_torch",
    "model_config",
    "preprocessing",
    "save",
    "to_torch",
]

_HOMES = {
    "resnet_jax.blocks": ("BasicBlock", "Bottleneck", "Parts", "PlainBlock", "ResidualBlock"),
    "resnet_jax.errors": ("ConfigError",),
    "resnet_jax.inference.preprocess": ("preprocessing",),
    "resnet_jax.interop.pure": ("functional",),
    "resnet_jax.layers": ("BatchNorm", "conv1x1", "conv3x3"),
    "resnet_jax.models": ("Backbone", "BatchNormConfig", "ResNet", "ResNetConfig", "grow"),
    "resnet_jax.weights": (
        "WeightsError",
        "create_model",
        "load",
        "load_torch",
        "save",
        "to_torch",
    ),
    "resnet_jax.zoo": ("list_models", "list_pretrained", "model_config"),
}
# Attributes without an import of their own, as in `resnet_jax.weights.read_record`.
_SUBMODULES = ("blocks", "errors", "interop", "layers", "linen", "models", "weights", "zoo")

if not TYPE_CHECKING:  # a type checker would take every name for one that exists
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, _SUBMODULES)

"""Deep residual networks in JAX and Flax.

What is not used is not imported (PEP 562): a block loads jax and flax and nothing else.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_jax import linen
    from resnet_jax.blocks import BasicBlock, Bottleneck, Parts, PlainBlock, ResidualBlock
    from resnet_jax.errors import ConfigError
    from resnet_jax.interop.pure import functional
    from resnet_jax.layers import BatchNorm, conv1x1, conv3x3
    from resnet_jax.models import Backbone, BatchNormConfig, ResNet, ResNetConfig, grow
    from resnet_jax.weights import WeightsError, create_model, load, load_torch, save, to_torch
    from resnet_jax.zoo import list_models, model_config

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
    "load",
    "load_torch",
    "model_config",
    "save",
    "to_torch",
]

_HOMES = {
    "resnet_jax.blocks": ("BasicBlock", "Bottleneck", "Parts", "PlainBlock", "ResidualBlock"),
    "resnet_jax.errors": ("ConfigError",),
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
    "resnet_jax.zoo": ("list_models", "model_config"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}
# Attributes without an import of their own, as in `resnet_jax.weights.read_record`.
_SUBMODULES = ("blocks", "errors", "interop", "layers", "linen", "models", "weights", "zoo")

if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        """Imports what is asked for."""
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(_MODULE_OF[name]), name)
        elif name in _SUBMODULES:
            value = importlib.import_module(f"{__name__}.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Lists what can be asked for."""
        return sorted({*globals(), *__all__, *_SUBMODULES})

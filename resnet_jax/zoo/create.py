"""Networks by name."""

import dataclasses
from typing import Unpack

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError, shown
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.models.initialize import initialize, params_key
from resnet_jax.zoo.catalogue import check_model_name
from resnet_jax.zoo.rows import TABLE
from resnet_jax.zoo.settings import Changes, check_settings


def model_config(name: str | ResNetConfig, **changes: Unpack[Changes]) -> ResNetConfig:
    """Returns the config of a network.

    Args:
        name: One of `list_models()`, or a config.
        **changes: Settings that differ from those of the published network; see `Changes`.

    Raises:
        ConfigError: There is no network of that name (the nearest ones are named), or it cannot be
            changed like this.
    """
    if isinstance(name, str):
        check_model_name(name, TABLE)
    elif not isinstance(name, ResNetConfig):
        raise ConfigError(
            f"{shown(repr(name))} is neither the name of a model nor a ResNetConfig; "
            f"resnet_jax.list_models() lists the names."
        )
    check_settings(changes)
    config = TABLE[name] if isinstance(name, str) else name
    given = {field: value for field, value in changes.items() if value is not None}
    return dataclasses.replace(config, **given)  # type: ignore[arg-type]  # checked above


def create_untrained(
    name: str | ResNetConfig,
    *,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[Changes],
) -> ResNet:
    """Builds a network with random parameters, in training mode.

    The initialisation is compiled, and draws all random numbers at once; see
    `resnet_jax.models.initialize.initialize`.

    Args:
        name: One of `list_models()`, or a config.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype in which the parameters are stored.
        rngs: The key `params` initialises the parameters; None takes `nnx.Rngs(0)`.
        **changes: Settings that differ from those of the published network, such as
            `num_classes=10`; see `Changes`.

    Raises:
        ConfigError: There is no network of that name (the nearest ones are named), or it cannot be
            changed like this.
    """
    config = model_config(name, **changes)
    key = params_key(rngs)

    def build(rngs: nnx.Rngs) -> ResNet:
        return ResNet(config, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    return initialize(build, key)

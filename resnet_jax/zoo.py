"""Networks by name: each a row of data."""

import dataclasses
import fnmatch
import functools

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.pure import initialize

_BASIC = ResNetConfig(depths=(2, 2, 2, 2), widths=(64, 128, 256, 512))
_BOTTLENECK = ResNetConfig(depths=(3, 4, 6, 3), widths=(256, 512, 1024, 2048), block="bottleneck")
_CIFAR = ResNetConfig(
    depths=(3, 3, 3),
    widths=(16, 32, 64),
    stem="cifar",
    stem_features=16,
    shortcut="a",
    num_classes=10,
)


def _table() -> dict[str, ResNetConfig]:
    vary = dataclasses.replace
    # He et al. 2015, table 1.
    table = {
        "resnet18": _BASIC,
        "resnet34": vary(_BASIC, depths=(3, 4, 6, 3)),
        "resnet50": _BOTTLENECK,
        "resnet101": vary(_BOTTLENECK, depths=(3, 4, 23, 3)),
        "resnet152": vary(_BOTTLENECK, depths=(3, 8, 36, 3)),
        "plain18": vary(_BASIC, block="plain"),
        "plain34": vary(_BASIC, depths=(3, 4, 6, 3), block="plain"),
    }
    # He et al. 2015, section 4.2: 6n + 2 layers.
    for layers in (20, 32, 44, 56, 110, 1202):
        table[f"resnet{layers}"] = vary(_CIFAR, depths=((layers - 2) // 6,) * 3)
    for layers in (20, 32, 44, 56, 110):
        table[f"plain{layers}"] = vary(table[f"resnet{layers}"], block="plain")
    return table


_CONFIGS = _table()


def list_models(pattern: str = "*") -> list[str]:
    """Lists the names that match a shell pattern such as `resnet*`, as they stand in the table."""
    return [name for name in _CONFIGS if fnmatch.fnmatchcase(name, pattern)]


def model_config(
    name: str, *, num_classes: int | None = None, in_features: int = 3
) -> ResNetConfig:
    """Returns the config of a network.

    Args:
        name: One of `list_models()`.
        num_classes: Outputs of the classifier; None takes those of the published network.
        in_features: Channels of the images.

    Raises:
        ConfigError: There is no network of that name; the nearest ones are named.
    """
    if name not in _CONFIGS:
        raise ConfigError(
            f"there is no model {name!r}.{nearest(name, _CONFIGS)} "
            f"resnet_jax.list_models() lists them all."
        )
    config = _CONFIGS[name]
    return dataclasses.replace(
        config, num_classes=num_classes or config.num_classes, in_features=in_features
    )


def create_model(
    name: str | ResNetConfig,
    *,
    num_classes: int | None = None,
    in_features: int = 3,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """Builds a network with random parameters, in training mode.

    The initialisation is compiled as one program instead of being run operation by operation.

    Args:
        name: One of `list_models()`, or a config, which has its own classes and channels.
        num_classes: Outputs of the classifier; None takes those of the published network.
        in_features: Channels of the images.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype in which the parameters are stored.
        rngs: The key `params` initialises the parameters; None takes `nnx.Rngs(0)`.

    Raises:
        ConfigError: There is no network of that name; the nearest ones are named.
    """
    config = name
    if isinstance(config, str):
        config = model_config(config, num_classes=num_classes, in_features=in_features)
    rngs = nnx.Rngs(0) if rngs is None else rngs
    build = functools.partial(ResNet, config, dtype=dtype, param_dtype=param_dtype)
    return initialize(build, rngs.params())

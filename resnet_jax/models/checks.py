"""What a network's config has to fulfil."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.models.stem import STEM_POOLS, STEMS
from resnet_jax.models.tables import (
    ACTIVATING_NORMS,
    ACTIVATIONS,
    ANTIALIASING,
    ATTENTIONS,
    BLOCKS,
    CONVOLUTIONS,
    NORMS,
    SHORTCUTS,
)

if TYPE_CHECKING:
    from resnet_jax.models.config import ResNetConfig

_TABLES: Mapping[str, Mapping[str, object]] = {
    "shortcut": SHORTCUTS,
    "stem": STEMS,
    "pool": STEM_POOLS,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "convolution": CONVOLUTIONS,
    "attention": ATTENTIONS,
    "antialiasing": ANTIALIASING,
}
# The field of a config that an argument of a block comes from.
_FIELDS = {
    "mid_features": "mid_ratio",
    "first_features": "first_ratio",
    "dilation": "output_stride",
    "first_dilation": "output_stride",
}


def check(config: ResNetConfig) -> None:
    """Checks a config.

    Raises:
        ConfigError: A value is unknown, out of range or does not go with another one.
    """
    for field, table in _TABLES.items():
        _check_name(field.replace("pool", "stem_pool"), getattr(config, field), table)
    _check_stages(config)
    _check_ranges(config)
    _check_norm(config)
    _check_output_stride(config)
    _check_block_options(config)


def _check_name(field: str, value: str, table: Mapping[str, object]) -> None:
    if value not in table:
        raise ConfigError(
            f"{field}={value!r} is unknown; choose one of {', '.join(table)}."
            f"{nearest(value, table)}"
        )


def _check_stages(config: ResNetConfig) -> None:
    for name in config.blocks:
        _check_name("block", name, BLOCKS)
    if len(config.depths) != len(config.widths) or not config.depths:
        raise ConfigError(
            f"depths={config.depths} and widths={config.widths} need one entry for each stage."
        )
    if len(config.blocks) != len(config.depths):
        raise ConfigError(
            f"block={config.block} needs one entry for each of the {len(config.depths)} stages, or "
            f"to be a single name."
        )
    if len({BLOCKS[name].preactivation for name in config.blocks}) > 1:
        raise ConfigError(
            f"block={config.block} mixes blocks with and without pre-activation; use one kind."
        )


def _check_ranges(config: ResNetConfig) -> None:
    for field in ("depths", "widths", "stem_features", "groups", "in_features"):
        value = getattr(config, field)
        if min(value if isinstance(value, tuple) else (value,)) < 1:
            raise ConfigError(f"{field}={value} must be at least 1.")
    if config.num_classes < 0:
        raise ConfigError(
            f"num_classes={config.num_classes} must be at least 1, or 0 for no classifier."
        )
    for field in ("drop_path_rate", "dropout_rate"):
        if not 0.0 <= getattr(config, field) < 1.0:
            raise ConfigError(f"{field}={getattr(config, field)} must lie in [0, 1).")


def _check_norm(config: ResNetConfig) -> None:
    if config.norm in ACTIVATING_NORMS and not config.preactivation:
        raise ConfigError(
            f"norm={config.norm!r} is an activation as well and does not go with "
            f"block={config.block!r}, which adds before it activates; use a pre-activation block."
        )


def _check_output_stride(config: ResNetConfig) -> None:
    possible = [config.stem_scale * 2**stage for stage in range(len(config.depths))]
    if config.output_stride is not None and config.output_stride not in possible:
        raise ConfigError(
            f"output_stride={config.output_stride} is impossible for this network; choose one of "
            f"{', '.join(map(str, possible))}."
        )


def _check_block_options(config: ResNetConfig) -> None:
    for stage in config.plan():
        for name in stage[-1].options:
            if name not in _arguments(stage[-1].block):
                field = _FIELDS.get(name, name)
                raise ConfigError(
                    f"{field}={getattr(config, field)} does not go with "
                    f"block={stage[-1].block!r}, which has no such setting; leave {field} out."
                )


@functools.cache
def _arguments(block: str) -> frozenset[str]:
    return frozenset(inspect.signature(BLOCKS[block].__init__).parameters)

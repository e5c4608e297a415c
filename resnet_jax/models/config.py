"""What a network is, as data: a frozen dataclass of plain values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from resnet_jax.blocks import Parts, identity
from resnet_jax.errors import ConfigError, shown
from resnet_jax.layers import GLOBAL_POOLS, Bound
from resnet_jax.models.batch_norm import BatchNormConfig
from resnet_jax.models.checks import (
    check_name,
    check_positive,
    check_rate,
    check_ratio,
    make_plain,
)
from resnet_jax.models.plan import BlockPlan, block_arguments, block_options, place_blocks
from resnet_jax.models.stem import STEM_POOLS, STEMS
from resnet_jax.models.tables import (
    ACTIVATIONS,
    ANTIALIASING,
    ATTENTIONS,
    BLOCKS,
    CONVOLUTIONS,
    NORMS,
    SHORTCUTS,
)

_TABLES: Mapping[str, Mapping[str, object]] = {
    "shortcut": SHORTCUTS,
    "stem": STEMS,
    "pool": STEM_POOLS,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "convolution": CONVOLUTIONS,
    "attention": ATTENTIONS,
    "antialiasing": ANTIALIASING,
    "global_pool": GLOBAL_POOLS,
}
_MOST_STAGES = 32  # each but the first halves the resolution
_BATCH_NORM = BatchNormConfig()
# The field of a config that an argument of a block comes from.
_FIELDS = {
    "mid_features": "mid_ratio",
    "first_features": "first_ratio",
    "dilation": "output_stride",
    "first_dilation": "output_stride",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """A residual network. Equal configs build equal networks; `dataclasses.replace` varies one.

    Attributes:
        depths: Blocks of each stage.
        widths: Output channels of each stage. Every stage but the first halves the resolution.
        block: A name in `BLOCKS`, or one for each stage.
        shortcut: A name in `SHORTCUTS`.
        stem: A name in `STEMS`.
        stem_features: Channels after the stem.
        stem_pool: A name in `STEM_POOLS`; None takes the stem's usual one.
        norm: A name in `NORMS`.
        activation: A name in `ACTIVATIONS`; norms that activate as well put it aside.
        convolution: A name in `CONVOLUTIONS`.
        attention: A name in `ATTENTIONS`.
        squeeze_ratio: Hidden channels of squeeze-excite per channel.
        antialiasing: A name in `ANTIALIASING`: what strides inside the blocks, if not convolutions.
        mid_ratio: Channels inside a block per channel of its output; None takes the block's own
            (1 for basic blocks, 1/4 for bottlenecks).
        first_ratio: Channels after a bottleneck's first convolution per channel after its second;
            None takes as many.
        groups: Groups of the blocks' 3x3 convolutions.
        stride_first: Bottlenecks stride on the first 1x1 convolution (v1) and not the 3x3 (v1.5).
        output_stride: Rows of the image per row of the last map; stages that would go beyond it
            dilate their convolutions instead. None leaves each stage its stride.
        batch_norm: Settings of the BatchNorms.
        zero_init_last: Start the last scale of every residual branch at zero.
        drop_path_rate: Stochastic depth, rising linearly from 0 at the first block to this at the
            last.
        dropout_rate: Dropout before the classifier.
        remat: Keep the blocks' inputs only, and compute what is inside again in the backward pass.
        global_pool: What the classifier gets of the last map, as in timm: `avg`, `max`, `avgmax`
            (their mean), `catavgmax` (both, twice as many features), or the empty string for the
            map itself, without a classifier.
        num_classes: Outputs of the classifier; 0 leaves the classifier out.
        in_features: Channels of the images.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    block: str | tuple[str, ...] = "basic"
    shortcut: str = "b"
    stem: str = "imagenet"
    stem_features: int = 64
    stem_pool: str | None = None
    norm: str = "batch"
    activation: str = "relu"
    convolution: str = "plain"
    attention: str = "none"
    squeeze_ratio: float = 1 / 16
    antialiasing: str = "none"
    mid_ratio: float | None = None
    first_ratio: float | None = None
    groups: int = 1
    stride_first: bool = False
    output_stride: int | None = None
    batch_norm: BatchNormConfig = _BATCH_NORM
    zero_init_last: bool = False
    drop_path_rate: float = 0.0
    dropout_rate: float = 0.0
    remat: bool = False
    global_pool: str = "avg"
    num_classes: int = 1000
    in_features: int = 3

    def __post_init__(self) -> None:
        """Checks the values, and makes them plain: lists become tuples, NumPy's numbers Python's.

        Raises:
            ConfigError: A value is unknown, of another kind, out of range or does not go with the
                block.
        """
        make_plain("", self)
        _check(self)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The name of each stage's block."""
        return (self.block,) * len(self.depths) if isinstance(self.block, str) else self.block

    @property
    def preactivation(self) -> bool:
        """Whether norm and activation come before the convolutions, and once more at the end."""
        return all(BLOCKS[name].preactivation for name in self.blocks)

    @property
    def pool(self) -> str:
        """The name of the stem's pool."""
        return self.stem_pool or STEMS[self.stem].pool

    @property
    def stem_scale(self) -> int:
        """Rows of the image per row of the first stage's input."""
        return STEMS[self.stem].stride * STEM_POOLS[self.pool].stride

    def parts(self) -> Parts:
        """Returns the builders of the blocks' layers."""
        norm = NORMS[self.norm]
        norm_settings = dataclasses.asdict(getattr(self, norm.settings)) if norm.settings else {}
        attention_settings = {"ratio": self.squeeze_ratio} if self.attention == "se" else {}
        return Parts(
            conv=CONVOLUTIONS[self.convolution],
            norm=Bound(norm.build, **norm_settings),
            act=identity if norm.activates else ACTIVATIONS[self.activation],
            shortcut=SHORTCUTS[self.shortcut],
            attention=Bound(ATTENTIONS[self.attention], **attention_settings),
            antialias=ANTIALIASING[self.antialiasing],
            zero_init_last=self.zero_init_last,
        )

    def plan(self) -> list[list[BlockPlan]]:
        """Returns the blocks of each stage."""
        placements = place_blocks(
            self.depths,
            scale=self.stem_scale,
            output_stride=self.output_stride,
            drop_path_rate=self.drop_path_rate,
        )
        stages = []
        for name, features, stage in zip(self.blocks, self.widths, placements, strict=True):
            options = [block_options(place, **self._inside(name, features)) for place in stage]
            stages.append([BlockPlan(name, features, stage[0].scale, own) for own in options])
        return stages

    def _inside(self, block: str, features: int) -> dict[str, Any]:
        """Returns the arguments that every block of this kind and width gets."""
        mid_features = int(features * (self.mid_ratio or 1 / BLOCKS[block].expansion))
        return {
            "mid_features": mid_features if self.mid_ratio else None,
            "first_features": int(mid_features * self.first_ratio) if self.first_ratio else None,
            "groups": self.groups,
            "stride_first": self.stride_first,
        }


def _check(config: ResNetConfig) -> None:
    for field, table in _TABLES.items():
        check_name("stem_pool" if field == "pool" else field, getattr(config, field), table)
    _check_stages(config)
    _check_ranges(config)
    _check_norm(config)
    _check_output_stride(config)
    _check_block_options(config)


def _check_stages(config: ResNetConfig) -> None:
    if len(config.depths) > _MOST_STAGES:
        raise ConfigError(f"depths has {len(config.depths)} stages; use at most {_MOST_STAGES}.")
    for name in set(config.blocks):
        check_name("block", name, BLOCKS)
    if len(config.depths) != len(config.widths) or not config.depths:
        raise ConfigError(
            f"depths={shown(config.depths)} and widths={shown(config.widths)} need one entry for "
            f"each stage."
        )
    if len(config.blocks) != len(config.depths):
        raise ConfigError(
            f"block={shown(config.block)} needs one entry for each of the {len(config.depths)} "
            f"stages, or to be a single name."
        )
    if len({BLOCKS[name].preactivation for name in config.blocks}) > 1:
        raise ConfigError(
            f"block={config.block} mixes blocks with and without pre-activation; use one kind."
        )


def _check_ranges(config: ResNetConfig) -> None:
    for field in ("depths", "widths", "stem_features", "groups", "in_features"):
        check_positive(field, getattr(config, field))
    if config.num_classes < 0:
        raise ConfigError(
            f"num_classes={shown(config.num_classes)} must be at least 1, or 0 for no classifier."
        )
    if config.num_classes and not config.global_pool:
        raise ConfigError(
            f"global_pool='' leaves nothing for a classifier of num_classes={config.num_classes}; "
            f"use num_classes=0, or pool."
        )
    check_positive("num_classes", config.num_classes or 1)
    for field in ("drop_path_rate", "dropout_rate"):
        check_rate(field, getattr(config, field))
    for field in ("squeeze_ratio", "mid_ratio", "first_ratio"):
        check_ratio(field, getattr(config, field))
    inside = min(config.widths) * (config.mid_ratio or 1) * (config.first_ratio or 1)
    if inside < 1 and (config.mid_ratio or config.first_ratio):
        raise ConfigError(
            f"mid_ratio={config.mid_ratio} and first_ratio={config.first_ratio} leave no channels "
            f"of {min(config.widths)}; use larger ones."
        )


def _check_norm(config: ResNetConfig) -> None:
    if NORMS[config.norm].activates and not config.preactivation:
        raise ConfigError(
            f"norm={config.norm!r} is an activation as well and does not go with "
            f"block={config.block!r}, which adds before it activates; use a pre-activation block."
        )


def _check_output_stride(config: ResNetConfig) -> None:
    possible = [config.stem_scale * 2**stage for stage in range(len(config.depths))]
    if config.output_stride is not None and config.output_stride not in possible:
        raise ConfigError(
            f"output_stride={shown(config.output_stride)} is impossible for this network; choose "
            f"one of {', '.join(map(str, possible))}."
        )


def _check_block_options(config: ResNetConfig) -> None:
    for name, width in zip(config.blocks, config.widths, strict=True):
        inside = config._inside(name, width)["mid_features"] or width // BLOCKS[name].expansion
        if inside % config.groups:
            raise ConfigError(
                f"groups={config.groups} do not divide the {inside} channels inside the blocks of "
                f"width {width}."
            )
    for stage in config.plan():
        for name in stage[-1].options:
            if name not in block_arguments(stage[-1].block):
                field = _FIELDS.get(name, name)
                raise ConfigError(
                    f"{field}={getattr(config, field)} does not go with "
                    f"block={stage[-1].block!r}, which has no such setting; leave {field} out."
                )

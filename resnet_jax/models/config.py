"""What a network is, as data: a frozen dataclass of plain values, and the parts that it names."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx

from resnet_jax.blocks import (
    BasicBlock,
    Bottleneck,
    Parts,
    PlainBlock,
    shortcut_a,
    shortcut_b,
    shortcut_c,
    shortcut_d,
)
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.layers import BatchNorm
from resnet_jax.models.stem import cifar_stem, imagenet_stem

Block = Callable[..., jax.Array]  # `block(x, rngs=None)`

ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {"relu": nnx.relu, "silu": nnx.silu}
BLOCKS: Mapping[str, type[BasicBlock | Bottleneck | PlainBlock]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "plain": PlainBlock,
}
SHORTCUTS = {"a": shortcut_a, "b": shortcut_b, "c": shortcut_c, "d": shortcut_d}
STEMS = {"cifar": cifar_stem, "imagenet": imagenet_stem}


@dataclasses.dataclass(frozen=True)
class BatchNormConfig:
    """Settings of every BatchNorm in a network; see `resnet_jax.layers.BatchNorm`."""

    momentum: float = 0.9
    epsilon: float = 1e-5
    group_size: int | None = None
    unbiased_variance: bool = False
    two_pass: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNetConfig:
    """A residual network. Equal configs build equal networks; `dataclasses.replace` varies one.

    Attributes:
        depths: blocks of each stage.
        widths: output channels of each stage. Every stage but the first halves the resolution.
        block: a name in `BLOCKS`.
        shortcut: a name in `SHORTCUTS`.
        stem: a name in `STEMS`.
        stem_features: channels after the stem.
        activation: a name in `ACTIVATIONS`.
        mid_ratio: channels inside a block per channel of its output; None takes the block's own
            (1 for basic blocks, 1/4 for bottlenecks).
        groups: groups of the blocks' 3x3 convolutions.
        stride_first: bottlenecks stride on the first 1x1 convolution (v1) and not the 3x3 (v1.5).
        batch_norm: settings of the BatchNorms.
        zero_init_last: start the last scale of every residual branch at zero.
        drop_path_rate: stochastic depth, rising linearly from 0 at the first block to this at the
            last.
        dropout_rate: dropout before the classifier.
        num_classes: outputs of the classifier.
        in_features: channels of the images.
    """

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    block: str = "basic"
    shortcut: str = "b"
    stem: str = "imagenet"
    stem_features: int = 64
    activation: str = "relu"
    mid_ratio: float | None = None
    groups: int = 1
    stride_first: bool = False
    batch_norm: BatchNormConfig = BatchNormConfig()
    zero_init_last: bool = False
    drop_path_rate: float = 0.0
    dropout_rate: float = 0.0
    num_classes: int = 1000
    in_features: int = 3

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: a value is unknown, out of range or does not go with the block.
        """
        for field, table in (
            ("block", BLOCKS),
            ("shortcut", SHORTCUTS),
            ("stem", STEMS),
            ("activation", ACTIVATIONS),
        ):
            _check_name(field, getattr(self, field), table)
        if len(self.depths) != len(self.widths) or not self.depths:
            raise ConfigError(
                f"depths={self.depths} and widths={self.widths} need one entry for each stage."
            )
        for field in ("depths", "widths", "stem_features", "groups", "num_classes", "in_features"):
            value = getattr(self, field)
            if min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ConfigError(f"{field}={value} must be at least 1.")
        for field in ("drop_path_rate", "dropout_rate"):
            if not 0.0 <= getattr(self, field) < 1.0:
                raise ConfigError(f"{field}={getattr(self, field)} must lie in [0, 1).")
        self._check_block_options()

    def parts(self) -> Parts:
        """Returns the builders of the blocks' layers."""
        return Parts(
            norm=functools.partial(BatchNorm, **dataclasses.asdict(self.batch_norm)),
            act=ACTIVATIONS[self.activation],
            shortcut=SHORTCUTS[self.shortcut],
            zero_init_last=self.zero_init_last,
        )

    def block_options(self, features: int, position: float) -> dict[str, Any]:
        """Returns the block's arguments that differ from its defaults.

        Args:
            features: channels of the block's output.
            position: 0 for the first block of the network to 1 for the last.
        """
        options = {
            "mid_features": int(features * self.mid_ratio) if self.mid_ratio else None,
            "groups": self.groups if self.groups > 1 else None,
            "stride_first": self.stride_first or None,
            "drop_path_rate": self.drop_path_rate * position or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _check_block_options(self) -> None:
        accepted = inspect.signature(BLOCKS[self.block].__init__).parameters
        for name in self.block_options(self.widths[0], position=1.0):
            if name not in accepted:
                field = {"mid_features": "mid_ratio"}.get(name, name)
                raise ConfigError(
                    f"{field}={getattr(self, field)} does not go with block={self.block!r}, "
                    f"which has no such setting; leave {field} out."
                )


def _check_name(field: str, value: str, table: Mapping[str, object]) -> None:
    if value not in table:
        raise ConfigError(
            f"{field}={value!r} is unknown; choose one of {', '.join(table)}."
            f"{nearest(value, table)}"
        )

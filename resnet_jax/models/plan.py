"""Which blocks a network consists of: what strides, what dilates, and what each is built with."""

import functools
import inspect
from typing import Any, NamedTuple

from resnet_jax.models.tables import BLOCKS


class BlockPlan(NamedTuple):
    """A block of a network.

    Attributes:
        block: A name in `BLOCKS`.
        features: Channels of its output.
        scale: Rows of the image per row of its output.
        options: Its further arguments, where they differ from their defaults.
    """

    block: str
    features: int
    scale: int
    options: dict[str, Any]


class Placement(NamedTuple):
    """Where a block stands.

    Attributes:
        stride: Rows of its input per row of its output.
        dilation: Dilation of its output.
        first_dilation: Dilation of its input.
        drop_path_rate: Its stochastic depth.
        scale: Rows of the image per row of its output.
    """

    stride: int
    dilation: int
    first_dilation: int
    drop_path_rate: float
    scale: int


def place_blocks(
    depths: tuple[int, ...], *, scale: int, output_stride: int | None, drop_path_rate: float
) -> list[list[Placement]]:
    """Places the blocks of each stage; every stage but the first strides or dilates.

    Args:
        depths: Blocks of each stage.
        scale: Rows of the image per row of the first stage's input.
        output_stride: Greatest scale, beyond which stages dilate instead; None always strides.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at the first.
    """
    stages, dilation, placed = [], 1, 0
    last = max(sum(depths) - 1, 1)
    for stage, depth in enumerate(depths):
        before, stride = dilation, 1 if stage == 0 else 2
        if output_stride and scale * stride > output_stride:
            dilation, stride = dilation * stride, 1
        scale *= stride
        rates = [drop_path_rate * (placed + index) / last for index in range(depth)]
        first = Placement(stride, dilation, before, rates[0], scale)
        others = [Placement(1, dilation, dilation, rate, scale) for rate in rates[1:]]
        stages.append([first, *others])
        placed += depth
    return stages


def block_options(placement: Placement, **inside: Any) -> dict[str, Any]:
    """Returns the arguments of a block that differ from its defaults.

    A block need not know the others: only those with bottlenecks, say, have a `stride_first`.

    Args:
        placement: Where the block stands.
        **inside: Further arguments, on which its place has no influence.
    """
    options = inside | placement._asdict()
    del options["scale"]
    usual = {"stride": 1, "dilation": 1, "first_dilation": placement.dilation, "groups": 1}
    return {name: value for name, value in options.items() if value and value != usual.get(name)}


@functools.cache
def block_arguments(block: str) -> frozenset[str]:
    """Returns the names of the arguments that a block takes."""
    return frozenset(inspect.signature(BLOCKS[block].__init__).parameters)

"""The convolution behind every `nnx.Conv` here: `jax.lax`'s, but where a CPU knows a faster way."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax import lax

from resnet_jax.layers.lowering import materialize, per_platform


def convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    **settings: Any,
) -> jax.Array:
    """Convolves NHWC inputs with an HWIO kernel.

    On a CPU a pointwise convolution, and with it both gradients, is a matrix product, and what
    goes into a convolution or comes back to it as a gradient is computed once. On other platforms
    this is `jax.lax.conv_general_dilated` and nothing else.

    Args:
        inputs: [batch, height, width, in_features].
        kernel: [height, width, in_features / groups, features].
        window_strides: Steps in both directions.
        padding: As `jax.lax.conv_general_dilated` takes it.
        **settings: The same.

    Returns:
        [batch, height, width, features].
    """
    inputs = materialize(inputs)
    if _is_pointwise(kernel, window_strides, padding, **settings):
        outputs = per_platform(_Pointwise(window_strides[0]), inputs, kernel)
    else:
        outputs = lax.conv_general_dilated(inputs, kernel, window_strides, padding, **settings)
    return materialize(outputs)


def _is_pointwise(
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    *,
    feature_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    **settings: Any,
) -> bool:
    del settings  # dilations of a kernel of one tap mean nothing
    return (
        kernel.shape[:2] == (1, 1)
        and len(set(window_strides)) == 1
        and not any(map(any, padding))
        and feature_group_count == 1
        and precision is None
        and preferred_element_type is None
        and out_sharding is None
    )


@dataclasses.dataclass(frozen=True)
class _Pointwise:
    """A 1x1 convolution without padding."""

    stride: int

    def cpu(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Multiplies each pixel that is kept by the kernel as a matrix."""
        kept = inputs[:, :: self.stride, :: self.stride]
        return lax.dot_general(kept, kernel[0, 0], (((3,), (0,)), ((), ())))

    def default(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Leaves it to the convolution."""
        return lax.conv_general_dilated(
            inputs,
            kernel,
            (self.stride, self.stride),
            ((0, 0), (0, 0)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

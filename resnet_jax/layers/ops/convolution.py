"""The convolution of every `nnx.Conv` here: that of `jax.lax`, or a faster form on CPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from resnet_jax.layers.ops import winograd
from resnet_jax.layers.ops.forms import Bilinear, transpose
from resnet_jax.layers.ops.kernel_gradient import kernel_gradient, outer_products
from resnet_jax.layers.ops.lowering import compute_once, devices, per_platform

_NHWC = ("NHWC", "HWIO", "NHWC")
# The sizes from which one form is faster than another, measured on processors with AVX-512.
_MANY_PIXELS = 256  # per image
_MANY_SQUARES = 64  # of 2x2 pixels, in all images of a device
_MANY_IMAGES = 8  # per device
_MANY_FEATURES = 64
_FEW_FEATURES = 16


def convolve(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    **settings: Any,
) -> jax.Array:
    """Convolves NHWC inputs with an HWIO kernel.

    On a CPU, a pointwise convolution and its gradients are matrix products. For larger kernels, the
    gradient by the kernel is computed by matrix products if images are large. The convolution is
    applied to several pixels at once if there are few features, and with fewer multiplications
    (Winograd's) if there are many features and nothing is differentiated. Its inputs and the
    gradients of its outputs are computed once. On other platforms this is only
    `jax.lax.conv_general_dilated`.

    Args:
        inputs: [batch, height, width, in_features].
        kernel: [height, width, in_features / groups, features].
        window_strides: Steps in both directions.
        padding: As for `jax.lax.conv_general_dilated`.
        **settings: As for `jax.lax.conv_general_dilated`.

    Returns:
        [batch, height, width, features].
    """
    inputs = compute_once(inputs)
    if _is_plain(kernel, window_strides, padding, **settings):
        kind = _Pointwise if len(kernel) == 1 else _Spatial
        outputs = per_platform(kind(window_strides[0]), inputs, kernel)
    else:
        outputs = lax.conv_general_dilated(inputs, kernel, window_strides, padding, **settings)
    return compute_once(outputs)


def _is_plain(
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: Any,
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> bool:
    """Whether it is square, padded so that stride 1 keeps the size, and otherwise has defaults."""
    size = kernel.shape[0]
    side = size // 2
    return (
        kernel.shape[:2] == (size, size)
        and size % 2 == 1
        and len(set(window_strides)) == 1
        and not isinstance(padding, str)
        and [tuple(pads) for pads in padding] == [(side, side)] * 2
        and set(lhs_dilation or (1,)) == {1}
        and (set(rhs_dilation or (1,)) == {1} or size == 1)
        and _is_nhwc(dimension_numbers, kernel)
        and (feature_group_count, batch_group_count) == (1, 1)
        and precision is None
        and preferred_element_type is None
        and out_sharding is None
    )


def _is_nhwc(dimension_numbers: Any, kernel: jax.Array) -> bool:
    def resolved(numbers: Any) -> Any:
        return lax.conv_dimension_numbers(kernel.shape, kernel.shape, numbers)

    return bool(resolved(dimension_numbers) == resolved(_NHWC))


@dataclasses.dataclass(frozen=True)
class _Pointwise(Bilinear):
    """A 1x1 convolution."""

    stride: int

    def cpu(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Multiplies each pixel that the stride keeps by the kernel as a matrix."""
        return lax.dot_general(self._kept(inputs), kernel[0, 0], (((3,), (0,)), ((), ())))

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Computes the kernel's gradient as a product, in the faster order."""
        if argument == 0:
            return transpose(self.cpu, argument, like, x, y)
        kept = compute_once(self._kept(x)) if self.stride > 1 else x
        return outer_products(kept, y)[None, None]

    def default(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Calls `jax.lax.conv_general_dilated`."""
        return _convolve(inputs, kernel, (self.stride, self.stride))

    def _kept(self, inputs: jax.Array) -> jax.Array:
        return inputs[:, :: self.stride, :: self.stride]


@dataclasses.dataclass(frozen=True)
class _Spatial(Bilinear):
    """A convolution with a larger square kernel."""

    stride: int
    is_differentiated: bool = False

    def differentiated(self) -> Bilinear:
        """Returns the form without Winograd's algorithm."""
        return dataclasses.replace(self, is_differentiated=True)

    def cpu(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Chooses between Winograd's algorithm, several pixels at once and XLA's convolution."""
        if self._gains_by_winograd(inputs, kernel):
            return winograd.convolve_3x3(inputs, kernel)
        pixels = self._pixels_at_once(inputs, kernel)
        if pixels == 1:
            return self.default(inputs, kernel)
        # Each of the neighbouring pixels uses its part of a window that is wide enough for all.
        windows = [
            jnp.pad(kernel, ((0, 0), (place, pixels - 1 - place), (0, 0), (0, 0)))
            for place in range(pixels)
        ]
        wide = jnp.concatenate(windows, axis=3)
        outputs = _convolve(inputs, wide, (1, pixels))
        return outputs.reshape(*inputs.shape[:3], kernel.shape[3])

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Uses products for the kernel's gradient, and several pixels at once for few features."""
        if argument == 1 and self._gains_by_products(x, y):
            return kernel_gradient(x, y, size=like.shape[0], stride=self.stride)
        if argument == 0:
            turned = y[::-1, ::-1].swapaxes(2, 3)
            if self._pixels_at_once(x, turned) > 1:
                return self.cpu(x, turned)
        return transpose(self.default, argument, like, x, y)

    def default(self, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        """Calls `jax.lax.conv_general_dilated`."""
        return _convolve(inputs, kernel, (self.stride, self.stride))

    def _pixels_at_once(self, inputs: jax.Array, kernel: jax.Array) -> int:
        """Returns how many neighbours in a row to compute as the features of one pixel.

        A matrix product with few columns is far slower than a wide one.
        """
        few = self.stride == 1 and max(kernel.shape[2:]) <= _FEW_FEATURES
        if not few or inputs.dtype != jnp.float32 or not isinstance(inputs.shape[2], int):
            return 1
        pixels = 4 if kernel.shape[2] <= _FEW_FEATURES // 4 else 2
        return 1 if inputs.shape[2] % pixels else pixels

    def _gains_by_winograd(self, inputs: jax.Array, kernel: jax.Array) -> bool:
        """Whether sixteen products are faster, including the transforms before and after them.

        For few pixels, the transform of the kernel takes too long. In training, where the forward
        pass is a third of the work, they gain nothing and take longer to compile; frozen layers
        use them.
        """
        batch, height, width, _ = inputs.shape
        return (
            not self.is_differentiated
            and (self.stride, len(kernel)) == (1, 3)
            and min(kernel.shape[2:]) >= _MANY_FEATURES
            and inputs.dtype == jnp.float32
            and all(isinstance(size, int) for size in inputs.shape)
            and batch >= _MANY_IMAGES * devices()
            and batch * (height // 2) * (width // 2) >= _MANY_SQUARES * devices()
        )

    def _gains_by_products(self, inputs: jax.Array, gradient: jax.Array) -> bool:
        """Whether the sum is so long that XLA's own form is much slower than a product."""
        _, height, width, _ = gradient.shape
        return (
            all(isinstance(size, int) for size in gradient.shape)
            and height * width >= _MANY_PIXELS
            and inputs.shape[3] >= _FEW_FEATURES
            and inputs.dtype in (jnp.float32, jnp.float64)
        )


def _convolve(inputs: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    side = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        inputs,
        kernel,
        strides,
        ((side, side), (side, side)),
        dimension_numbers=_NHWC,
    )

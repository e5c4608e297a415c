"""Norms of one example at a time: they depend on no batch and keep no running statistics.

EvoNorm-S0 and FRN-TLU are a norm and an activation in one.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers.dtypes import at_least_float32, check_values
from resnet_jax.layers.ops import by_feature


def group_norm(
    features: int,
    *,
    groups: int = 32,
    epsilon: float = 1e-5,
    scale_init: nnx.Initializer = nnx.initializers.ones,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs,
) -> nnx.GroupNorm:
    """Builds group normalisation, with mean and variance in float32, in two passes.

    Args:
        features: Channels, a multiple of `groups`.
        groups: Groups of channels that share statistics.
        epsilon: Added to the variance before the root.
        scale_init: Initialiser of `scale`.
        dtype: Dtype of the output; None keeps the input's.
        param_dtype: Dtype of the stored `scale` and `bias`.
        rngs: The key `params` is for `scale_init`.

    Raises:
        ValueError: The features do not divide into the groups.

    References:
        Wu and He 2018, https://arxiv.org/abs/1803.08494.
    """
    _check_groups(features, groups)
    return nnx.GroupNorm(
        features,
        num_groups=groups,
        epsilon=epsilon,
        use_fast_variance=False,
        scale_init=scale_init,
        dtype=dtype,
        param_dtype=param_dtype,
        rngs=rngs,
    )


class EvoNormS0(nnx.Module):
    """Norm and activation in one: x * sigmoid(v * x) / deviation of the group, scaled, shifted.

    Attributes:
        scale: Param [features].
        bias: Param [features].
        v: Param [features].

    References:
        Liu et al. 2020, table 2, https://arxiv.org/abs/2004.02967.
    """

    def __init__(
        self,
        features: int,
        *,
        groups: int = 32,
        epsilon: float = 1e-5,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer; arguments as for `group_norm`."""
        _check_groups(features, groups)
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))
        self.v = nnx.Param(jnp.ones((features,), param_dtype))
        self.groups = groups
        self.epsilon = epsilon
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises and activates x [batch, height, width, features].

        Raises:
            ValueError: The last axis is not `features`, or x holds integers.
        """
        check_values("EvoNormS0", x, self.scale.shape[0])
        values = x.astype(at_least_float32(x.dtype, self.scale.dtype))
        groups = values.reshape(*x.shape[:-1], self.groups, x.shape[-1] // self.groups)
        variance = jnp.var(groups, axis=(1, 2, 4), keepdims=True)
        normalized = (groups * jax.lax.rsqrt(variance + self.epsilon)).reshape(x.shape)
        v, scale, bias = (by_feature(p[...], values) for p in (self.v, self.scale, self.bias))
        y = normalized * nnx.sigmoid(values * v) * scale + bias
        return y.astype(self.dtype or x.dtype)


class FilterResponseNorm(nnx.Module):
    """Norm and activation in one: x / root mean square, scaled, shifted, and clipped below tau.

    Attributes:
        scale: Param [features].
        bias: Param [features].
        tau: Param [features], the threshold of the "thresholded linear unit".

    References:
        Singh and Krishnan 2019, https://arxiv.org/abs/1911.09737.
    """

    def __init__(
        self,
        features: int,
        *,
        epsilon: float = 1e-5,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer; arguments as for `group_norm`."""
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))
        self.tau = nnx.Param(jnp.zeros((features,), param_dtype))
        self.epsilon = epsilon
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises and activates x [batch, height, width, features].

        Raises:
            ValueError: The last axis is not `features`, or x holds integers.
        """
        check_values("FilterResponseNorm", x, self.scale.shape[0])
        values = x.astype(at_least_float32(x.dtype, self.scale.dtype))
        mean_square = jnp.mean(jnp.square(values), axis=(1, 2), keepdims=True)
        normalized = values * jax.lax.rsqrt(mean_square + self.epsilon)
        scale, bias, tau = (by_feature(p[...], values) for p in (self.scale, self.bias, self.tau))
        y = jnp.maximum(normalized * scale + bias, tau)
        return y.astype(self.dtype or x.dtype)


def _check_groups(features: int, groups: int) -> None:
    if features % groups:
        raise ValueError(f"{features} features do not divide into groups={groups} groups.")

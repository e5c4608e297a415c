"""Batch normalisation that keeps its statistics in float32 and says over which examples."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers.lowering import Bilinear, materialize, per_platform

_Arrays = tuple[jax.Array, jax.Array, jax.Array]
_MOST_ROWS = 8  # that are added before they are summed; more of them gain nothing


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last.

    Differs from `nnx.BatchNorm` where that one departs from what published ResNets were trained
    with: the momentum defaults to 0.9 (PyTorch's 0.1), and neither the batch's statistics nor the
    running ones ever pass through half precision, whatever `dtype` is.

    The batch that the statistics are taken over is explicit. Under `jax.jit` with a batch sharded
    over devices it is the global batch; with `group_size=N` it is each N consecutive examples.

    Attributes:
        scale: Param [features].
        bias: Param [features].
        mean: BatchStat [features], float32: the running mean.
        var: BatchStat [features], float32: the running variance.
        use_running_average: Normalise with the running statistics, and leave them alone. Set by
            `module.eval()` and cleared by `module.train()`.

    References:
        Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. Small groups: Hoffer et al. 2017,
        https://arxiv.org/abs/1705.08741.
    """

    def __init__(
        self,
        features: int,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        group_size: int | None = None,
        unbiased_variance: bool = False,
        two_pass: bool = False,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        use_running_average: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer in training mode.

        Args:
            features: Channels, the size of the last axis.
            momentum: Weight of the old running value at each update; PyTorch's number is one
                minus this.
            epsilon: Added to the variance before the root.
            group_size: Examples that share statistics; None takes the whole batch.
            unbiased_variance: Store n / (n - 1) times the variance, as PyTorch does; the batch is
                normalised with the biased variance either way.
            two_pass: Compute the variance from the centred values; slower, and exact where the
                mean is large beside the deviation.
            scale_init: Initialiser of `scale`; zeros make a residual branch start as nothing.
            use_running_average: Start in evaluation mode.
            dtype: Dtype of the output; None keeps the input's.
            param_dtype: Dtype in which `scale` and `bias` are stored.
            rngs: The key `params` goes to `scale_init`.
        """
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))
        # float64 parameters are for comparisons in double precision: the statistics follow.
        stat_dtype = jnp.promote_types(jnp.float32, param_dtype)
        self.mean = nnx.BatchStat(jnp.zeros((features,), stat_dtype))
        self.var = nnx.BatchStat(jnp.ones((features,), stat_dtype))
        self.momentum = momentum
        self.epsilon = epsilon
        self.group_size = group_size
        self.unbiased_variance = unbiased_variance
        self.two_pass = two_pass
        self.use_running_average = use_running_average
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises x [batch, ..., features]; updates the running statistics when training.

        Raises:
            ValueError: The batch does not divide into groups of `group_size` examples.
        """
        out_dtype = self.dtype if self.dtype is not None else x.dtype
        values = x.astype(jnp.promote_types(jnp.float32, x.dtype))
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
            return _normalize(values, mean, var, scale, bias, self.epsilon).astype(out_dtype)
        groups = self._split(values)
        y, mean, var = _normalize_batch(groups, scale, bias, self.epsilon, self.two_pass)
        self._update(mean, var, count=groups.size // mean.size)
        return y.reshape(x.shape).astype(out_dtype)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Sets the mode; `nnx.view(module, use_running_average=True)` calls this on its copy."""
        if use_running_average is not None:
            self.use_running_average = use_running_average

    def _split(self, x: jax.Array) -> jax.Array:
        """Reshapes [batch, ...] to [groups, batch // groups, ...]."""
        batch = x.shape[0]
        size = batch if self.group_size is None else self.group_size
        if batch % size:
            raise ValueError(
                f"BatchNorm: a batch of {batch} does not divide into groups of group_size={size}; "
                f"choose a group_size that divides the batch."
            )
        return x.reshape(batch // size, size, *x.shape[1:])

    def _update(self, mean: jax.Array, var: jax.Array, count: int) -> None:
        if self.unbiased_variance:
            var = var * (count / max(count - 1, 1))
        for running, batch in ((self.mean, mean), (self.var, var)):
            of_groups = jnp.mean(batch, axis=tuple(range(batch.ndim - 1)))
            new = self.momentum * running[...] + (1 - self.momentum) * of_groups
            running.set_value(jax.lax.stop_gradient(new.astype(running.dtype)))


def _usual_normalize_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, two_pass: bool
) -> _Arrays:
    """Normalises x [groups, batch, ..., features] with the statistics of each group.

    Returns:
        The result, and mean and biased variance of each group, [groups, 1, ..., features].
    """
    mean = _average(x)
    if two_pass:
        var = _average(jnp.square(x - mean))
    else:
        # One reading of the activations instead of two; rounding can leave it just below zero.
        var = jnp.maximum(_average(jnp.square(x)) - jnp.square(mean), 0.0)
    return _normalize(x, mean, var, scale, bias, epsilon), mean, var


_normalize_batch = jax.custom_jvp(_usual_normalize_batch, nondiff_argnums=(3, 4))


@_normalize_batch.defjvp
def _normalize_batch_jvp(
    epsilon: float, two_pass: bool, primals: _Arrays, tangents: _Arrays
) -> tuple[_Arrays, _Arrays]:
    """Writes the derivative so that the way back is short.

    That is two sums over the pixels, of the gradient and of the gradient times `centred`, and then
    one weighted sum of the gradient, `centred` and a constant.
    """
    x, scale, _ = primals
    x_dot, scale_dot, bias_dot = tangents
    y, mean, var = _normalize_batch(*primals, epsilon, two_pass)
    root = jax.lax.rsqrt(var + epsilon)
    # The same difference stands in y. On a CPU it is another operation here, or XLA would compute
    # it once and keep it beside x from there to here.
    centred = x - materialize(mean)
    mean_dot = _average(x_dot)
    # What rounding has left at zero or below does not move with x.
    var_dot = jnp.where(var > 0, 2 * _average(centred * x_dot), 0)
    slope_dot = root * scale_dot - 0.5 * root**3 * scale * var_dot
    offset_dot = bias_dot - root * scale * mean_dot
    weighted = _Weighted(x.shape)
    y_dot = (
        root * scale * x_dot
        + per_platform(weighted, centred, slope_dot)
        + per_platform(weighted, jnp.ones((), x.dtype), offset_dot)
    )
    return (y, mean, var), (y_dot, mean_dot, var_dot)


def _normalize(
    x: jax.Array,
    mean: jax.Array,
    var: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
) -> jax.Array:
    return (x - mean) * (jax.lax.rsqrt(var + epsilon) * scale) + bias


def _average(x: jax.Array) -> jax.Array:
    return jnp.mean(x, _pixel_axes(x), keepdims=True)


def _pixel_axes(x: jax.Array) -> tuple[int, ...]:
    """Lists the axes of x [groups, batch, ..., features] that statistics are taken over."""
    return tuple(range(1, x.ndim - 1))


@dataclasses.dataclass(frozen=True)
class _Weighted(Bilinear):
    """Gives each pixel x, its own or the same for all, times y [groups, 1, ..., features]."""

    shape: tuple[int, ...]  # of the pixels, [groups, batch, ..., features]

    def cpu(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Does as on other platforms; what differs is the way back."""
        return self.default(x, y)

    def cpu_gradient(self, argument: int, like: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        """Sums over the pixels in two steps, of which the first adds up to eight rows.

        XLA sums quickly on a CPU what lies in memory, and slowly what it computes on the way. So
        the products have to be written down first: an eighth of them, where rows are added before.
        """
        if argument == 0:
            return super().cpu_gradient(argument, like, x, y)
        summed = x * y
        if summed.ndim > 3 and isinstance(rows := summed.shape[2], int):
            parts = max(count for count in range(1, _MOST_ROWS + 1) if rows % count == 0)
            first, *others = jnp.split(summed, parts, axis=2)
            summed = materialize(sum(others, start=first))
        return jnp.sum(summed, _pixel_axes(summed), keepdims=True)

    def default(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """Multiplies."""
        return jnp.broadcast_to(x * y, self.shape)

"""Batch normalisation with statistics in float32, over an explicit group of examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.layers.dtypes import at_least_float32, check_values
from resnet_jax.layers.ops import normalize_batch, normalize_with


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last.

    It differs from `nnx.BatchNorm` to match the training of published ResNets: the momentum
    defaults to 0.9 (PyTorch's 0.1), and neither the batch statistics nor the running ones ever use
    half precision, regardless of `dtype`.

    The examples that share statistics are explicit. Under `jax.jit`, with a batch sharded over
    devices, they are the global batch; with `group_size=N`, each N consecutive examples.

    Attributes:
        scale: Param [features].
        bias: Param [features].
        mean: BatchStat [features], float32: the running mean.
        var: BatchStat [features], float32: the running variance.
        use_running_average: Normalise with the running statistics, without updating them. Set by
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
        fold: bool = False,
        scale_init: nnx.Initializer = nnx.initializers.ones,
        use_running_average: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Builds the layer in training mode.

        Args:
            features: Channels, the size of the last axis.
            momentum: Weight of the old running value at each update; PyTorch's momentum is one
                minus this.
            epsilon: Added to the variance before the root.
            group_size: Examples that share statistics; None takes the whole batch.
            unbiased_variance: Store n / (n - 1) times the variance, as PyTorch does; the batch is
                normalised with the biased variance either way.
            two_pass: Compute the variance from the centred values; slower, but exact if the
                mean is large compared to the deviation.
            fold: Let a block make this norm a part of the 1x1 convolution before it in training, in
                half precision; see `resnet_jax.layers.convolve_and_normalize`. For inference,
                exports can do so in any case.
            scale_init: Initialiser of `scale`; with zeros, a residual branch starts as zero.
            use_running_average: Start in evaluation mode.
            dtype: Dtype of the output; None keeps the input's.
            param_dtype: Dtype of the stored `scale` and `bias`.
            rngs: The key `params` is for `scale_init`.
        """
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))
        # float64 parameters are for comparisons in double precision, so the statistics follow.
        stat_dtype = at_least_float32(param_dtype)
        self.mean = nnx.BatchStat(jnp.zeros((features,), stat_dtype))
        self.var = nnx.BatchStat(jnp.ones((features,), stat_dtype))
        self.momentum = momentum
        self.epsilon = epsilon
        self.group_size = group_size
        self.unbiased_variance = unbiased_variance
        self.two_pass = two_pass
        self.fold = fold
        self.use_running_average = use_running_average
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalises x [batch, ..., features]; updates the running statistics when training.

        An empty batch gives an empty result and leaves the running statistics alone, as in PyTorch.

        Raises:
            ValueError: The batch does not divide into groups of `group_size` examples, the last
                axis is not `features`, or x holds integers.
        """
        check_values("BatchNorm", x, self.scale.shape[0])
        out_dtype = self.dtype if self.dtype is not None else x.dtype
        scale, bias = self.scale[...], self.bias[...]
        values = x.astype(at_least_float32(x.dtype, scale.dtype))
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
            y = normalize_with(
                values, mean=mean, var=var, scale=scale, bias=bias, epsilon=self.epsilon
            )
            return y.astype(out_dtype)
        if 0 in x.shape:
            return x.astype(out_dtype)
        groups = self.split(values)
        y, mean, var = normalize_batch(
            groups, scale=scale, bias=bias, epsilon=self.epsilon, two_pass=self.two_pass
        )
        self.update(mean, var, count=groups.size // mean.size)
        return y.reshape(x.shape).astype(out_dtype)

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Sets the mode; `nnx.view(module, use_running_average=True)` calls this on its copy.

        Args:
          use_running_average: Normalise with the running statistics, without updating them; None
            changes nothing.
        """
        # `nnx.view_info` prints these arguments, which it finds by their indent of two spaces.
        if use_running_average is not None:
            self.use_running_average = use_running_average

    def split(self, x: jax.Array) -> jax.Array:
        """Reshapes [batch, ...] to [groups, batch // groups, ...].

        Raises:
            ValueError: The batch does not divide into groups of `group_size` examples.
        """
        batch = x.shape[0]
        size = batch if self.group_size is None else self.group_size
        if batch % size:
            raise ValueError(
                f"BatchNorm: a batch of {batch} does not divide into groups of group_size={size}; "
                f"choose a group_size that divides the batch."
            )
        return x.reshape(batch // size, size, *x.shape[1:])

    def update(self, mean: jax.Array, var: jax.Array, *, count: int) -> None:
        """Moves the running statistics towards those of a batch.

        Args:
            mean: [groups, ..., features].
            var: [groups, ..., features], biased.
            count: Values per feature that each group's statistics come from.
        """
        if self.unbiased_variance:
            var = var * (count / max(count - 1, 1))
        for running, batch in ((self.mean, mean), (self.var, var)):
            of_groups = jnp.mean(batch, axis=tuple(range(batch.ndim - 1)))
            old = running[...].astype(of_groups.dtype)
            new = self.momentum * old + (1 - self.momentum) * of_groups
            running.set_value(jax.lax.stop_gradient(new.astype(running.dtype)))

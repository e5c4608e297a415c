"""Dropout and stochastic depth. Their random key is an argument of the call, not module state."""

import jax
import jax.numpy as jnp
from flax import nnx


class Dropout(nnx.Module):
    """Sets single values to zero at random, and scales the others up to keep the mean.

    The key is an argument of the call, so the state of a module is only its parameters and
    statistics. `module.eval()` sets `deterministic`, which makes this the identity.

    References:
        Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(self, rate: float, *, deterministic: bool = False) -> None:
        """Builds the layer.

        Args:
            rate: Probability that a value is dropped, at least 0 and below 1.
            deterministic: Start in evaluation mode.

        Raises:
            ValueError: `rate` is outside [0, 1).
        """
        if not 0.0 <= rate < 1.0:
            raise ValueError(
                f"{type(self).__name__}: rate={rate} is outside [0, 1); use 0 to drop nothing."
            )
        self.rate = rate
        self.deterministic = deterministic

    def __call__(self, x: jax.Array, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Drops values of x [batch, ...], with the stream `dropout` of `rngs`.

        Raises:
            ValueError: In training mode, the rate is above 0 and `rngs` is missing.
        """
        if self.deterministic or self.rate == 0.0:
            return x
        if rngs is None:
            raise ValueError(
                f"{type(self).__name__}(rate={self.rate}) needs randomness while training: pass "
                f"rngs=nnx.Rngs(dropout=key) to the call, or call module.eval() first."
            )
        kept = jax.random.bernoulli(rngs.dropout(), 1.0 - self.rate, self._mask_shape(x))
        return jnp.where(kept, x / (1.0 - self.rate), jnp.zeros_like(x))

    def set_view(self, deterministic: bool | None = None) -> None:
        """Sets the mode; `nnx.view(module, deterministic=True)` calls this on its copy.

        Args:
          deterministic: Drop nothing; None changes nothing.
        """
        # `nnx.view_info` prints these arguments, which it finds by their indent of two spaces.
        if deterministic is not None:
            self.deterministic = deterministic

    def _mask_shape(self, x: jax.Array) -> tuple[int, ...]:
        return x.shape


class DropPath(Dropout):
    """Stochastic depth: drops the whole residual branch of single examples.

    References:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382.
    """

    def _mask_shape(self, x: jax.Array) -> tuple[int, ...]:
        return (x.shape[0], *(1,) * (x.ndim - 1))

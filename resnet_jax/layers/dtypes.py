"""The dtype of sums over many values, and what norms can normalise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(*dtypes: DTypeLike) -> jnp.dtype:
    """Returns float64 if one of the dtypes is that, and float32 otherwise.

    Unlike `jnp.promote_types`, it does not depend on `jax_numpy_dtype_promotion`.
    """
    is_double = any(jnp.dtype(dtype) == jnp.float64 for dtype in dtypes)
    return jnp.dtype(jnp.float64 if is_double else jnp.float32)


def check_values(layer: str, x: jax.Array, features: int) -> None:
    """Checks what a norm is given: an array of one feature could be broadcast, integers truncated.

    Args:
        layer: The name of the norm, for messages.
        x: [batch, ..., features].
        features: What the norm was built for.

    Raises:
        ValueError: The last axis has another size, or x holds integers.
    """
    if x.shape[-1] != features:
        raise ValueError(
            f"{layer} of {features} features got {list(x.shape)}; the last axis must be {features}."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{layer} got {x.dtype}; convert to floating point before it.")

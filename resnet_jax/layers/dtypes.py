"""The dtype of sums over many values."""

from __future__ import annotations

import jax.numpy as jnp
from jax.typing import DTypeLike


def at_least_float32(*dtypes: DTypeLike) -> jnp.dtype:
    """Returns float64 if one of the dtypes is that, and float32 otherwise.

    Unlike `jnp.promote_types`, it does not depend on `jax_numpy_dtype_promotion`.
    """
    is_double = any(jnp.dtype(dtype) == jnp.float64 for dtype in dtypes)
    return jnp.dtype(jnp.float64 if is_double else jnp.float32)

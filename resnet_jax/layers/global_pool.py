"""What turns a map into one vector per image. Names and values are those of timm."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from resnet_jax.layers.pool import global_average_pool


class GlobalPool(NamedTuple):
    """A way to pool a whole map.

    Attributes:
        apply: Maps [batch, height, width, features] to [batch, features times `factor`], at least
            in float32.
        factor: Values per channel of the map.
    """

    apply: Callable[[jax.Array], jax.Array]
    factor: int = 1


def global_max_pool(x: jax.Array) -> jax.Array:
    """Takes the largest pixel of each channel of x [batch, height, width, features]."""
    return no_global_pool(jnp.max(x, axis=(1, 2)))


def no_global_pool(x: jax.Array) -> jax.Array:
    """Returns x, at least in float32."""
    return x.astype(jnp.promote_types(jnp.float32, x.dtype))


def _mean_of_both(x: jax.Array) -> jax.Array:
    return 0.5 * (global_average_pool(x) + global_max_pool(x))


def _both(x: jax.Array) -> jax.Array:
    return jnp.concatenate([global_average_pool(x), global_max_pool(x)], axis=-1)


GLOBAL_POOLS: Mapping[str, GlobalPool] = {
    "avg": GlobalPool(global_average_pool),
    "max": GlobalPool(global_max_pool),
    "avgmax": GlobalPool(_mean_of_both),
    "catavgmax": GlobalPool(_both, factor=2),
    "": GlobalPool(no_global_pool),
}

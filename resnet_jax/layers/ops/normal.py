"""Any part of a long array of random numbers, without the rest of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.random import threefry2x32_p

# Numbers that are drawn at a time: a generator needs several times their memory. The numbers do not
# depend on it.
CHUNK = 2**18


def normal_numbers(key: jax.Array, start: jax.Array, count: int) -> jax.Array:
    """Draws a part of `jax.random.normal(key, (n,), jnp.float32)`, whatever n is.

    With JAX's usual generator, the number at an index depends on the key and the index alone, so
    the parts of an array can be drawn one after the other, bit for bit.

    Args:
        key: A key of JAX's usual generator (see `draws_by_index`).
        start: The first index, uint32 [2]: its upper and its lower 32 bits.
        count: How many numbers are needed.

    Returns:
        float32, at least `count` numbers: more are rounded up to whole chunks.
    """
    first, second = jax.random.key_data(key)
    upper, lower = start
    size = min(count, CHUNK)

    def draw(offset: jax.Array) -> jax.Array:
        index = lower + (offset + lax.iota(jnp.uint32, size))
        carry = (index < lower).astype(jnp.uint32)
        words = [jnp.broadcast_to(word, (size,)) for word in (first, second)]
        one, other = threefry2x32_p.bind(*words, upper + carry, index)
        return _normal(one ^ other)

    if count <= CHUNK:
        return draw(jnp.uint32(0))
    return lax.map(draw, jnp.arange(0, count, CHUNK, dtype=jnp.uint32)).ravel()


def draws_by_index(key: jax.Array) -> bool:
    """Whether the numbers of a key depend on it and their index alone; see `normal_numbers`."""
    usual = jax.random.key_impl(key) == jax.random.key_impl(jax.random.key(0, impl="threefry2x32"))
    return usual and bool(jax.config.jax_threefry_partitionable)  # type: ignore[attr-defined]


def _normal(bits: jax.Array) -> jax.Array:
    """Turns random bits into normal numbers, in the same steps as `jax.random.normal`."""
    low, one = np.nextafter(np.float32(-1), np.float32(0)), np.float32(1)
    mantissa = lax.shift_right_logical(bits, np.uint32(32 - 23)) | one.view(np.uint32)
    uniform = lax.bitcast_convert_type(mantissa, jnp.float32) - one
    uniform = jnp.maximum(low, uniform * (one - low) + low)
    return np.float32(np.sqrt(2)) * lax.erf_inv(uniform)

"""Parts of an array of random numbers, against `jax.random.normal`."""

import chex
import jax
import jax.numpy as jnp
import pytest

from resnet_jax.layers.ops import normal_numbers


@pytest.mark.parametrize("count", [1, 7, 8, 9, 30])
@pytest.mark.parametrize("start", [0, 5, 2**32 - 3])
def test_numbers_of_an_index_are_those_of_jax(start, count, monkeypatch):
    monkeypatch.setattr("resnet_jax.layers.ops.normal.CHUNK", 8)
    key = jax.random.key(3)
    part = normal_numbers(key, jnp.array(divmod(start, 2**32), jnp.uint32), count)[:count]
    if start < 2**16:
        chex.assert_trees_all_equal(part, jax.random.normal(key, (64,))[start : start + count])
    else:  # beyond 32 bits the counter's upper half moves
        each = [
            normal_numbers(key, jnp.array(divmod(start + i, 2**32), jnp.uint32), 1)[0]
            for i in range(count)
        ]
        chex.assert_trees_all_equal(part, jnp.stack(each))

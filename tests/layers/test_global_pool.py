import chex
import jax.numpy as jnp
import pytest

from resnet_jax.layers import GLOBAL_POOLS

X = jnp.arange(8.0).reshape(1, 2, 2, 2)
VALUES = {
    "avg": [[3, 4]],
    "max": [[6, 7]],
    "avgmax": [[4.5, 5.5]],
    "catavgmax": [[3, 4, 6, 7]],
    "": X,
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", GLOBAL_POOLS)
def test_values_and_dtype(name, dtype):
    pooled = GLOBAL_POOLS[name].apply(X.astype(dtype))
    chex.assert_trees_all_equal(pooled, jnp.asarray(VALUES[name], jnp.float32))
    assert pooled.shape[-1] == 2 * GLOBAL_POOLS[name].factor

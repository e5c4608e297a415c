import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax.layers import Dropout, DropPath, average_pool, global_average_pool, max_pool


def test_max_pool_pads_both_sides():
    x = -jnp.arange(16.0).reshape(1, 4, 4, 1)  # falling: each window's maximum is its first pixel
    chex.assert_trees_all_equal(max_pool(x)[0, :, :, 0], -jnp.array([[0.0, 1.0], [4.0, 5.0]]))


def test_average_pool_divides_by_the_pixels_that_it_has():
    x = jnp.arange(9.0).reshape(1, 3, 3, 1)
    expected = jnp.array([[2.0, 3.5], [6.5, 8.0]])
    chex.assert_trees_all_equal(average_pool(x, stride=2)[0, :, :, 0], expected)


def test_average_pool_drops_partial_windows_where_told():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    pooled = average_pool(x, stride=2, partial_windows=False)
    chex.assert_trees_all_equal(pooled[0, :, :, 0], jnp.array([[3.0, 5.0]]))
    with pytest.raises(ValueError, match="a map of 1 x 4 pixels is too small"):
        average_pool(jnp.ones((1, 1, 4, 1)), stride=2, partial_windows=False)


def test_global_average_pool_sums_in_float32():
    x = jnp.full((1, 64, 64, 2), 1.0, jnp.bfloat16)
    chex.assert_trees_all_equal(global_average_pool(x), jnp.ones((1, 2), jnp.float32))


@pytest.mark.parametrize(("layer", "independent"), [(Dropout, 4 * 8 * 8 * 16), (DropPath, 4)])
def test_drop(layer, independent):
    x = jnp.ones((4, 8, 8, 16))
    drop = layer(0.25)
    y = drop(x, nnx.Rngs(dropout=1))
    assert set(np.unique(y)) <= {0.0, np.float32(1 / 0.75)}
    # DropPath has four draws, one an example; Dropout one a value.
    assert (y == y[:, :1, :1, :1]).all() == (independent == 4)
    chex.assert_trees_all_equal(y, drop(x, nnx.Rngs(dropout=1)))
    drop.eval()
    chex.assert_trees_all_equal(drop(x), x)


def test_drop_keeps_the_mean():
    y = DropPath(0.3)(jnp.ones((20000, 1, 1, 1)), nnx.Rngs(dropout=0))
    # The deviation of the mean of 20,000 draws is 0.0046.
    assert jnp.mean(y) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("layer", [Dropout, DropPath])
def test_drop_says_what_it_lacks(layer):
    assert not jax.tree.leaves(nnx.state(layer(0.5)))
    with pytest.raises(ValueError, match=rf"{layer.__name__}\(rate=0.5\) needs randomness"):
        layer(0.5)(jnp.ones((1, 1, 1, 1)))
    with pytest.raises(ValueError, match=r"rate=1.0 is outside \[0, 1\)"):
        layer(1.0)

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax.layers import conv, conv1x1, conv3x3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (3, 2), (7, 1)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_dtype(kernel_size, dilation, stride, size, dtype):
    layer = conv(4, 6, kernel_size, stride=stride, dilation=dilation, dtype=dtype, rngs=nnx.Rngs(0))
    y = layer(jnp.zeros((2, size, size, 4)))
    chex.assert_shape(y, (2, -(-size // stride), -(-size // stride), 6))
    chex.assert_type([y, layer.kernel[...]], [dtype, jnp.float32])


def test_padding_is_symmetric_where_same_is_not():
    """At stride 2 and an even size "SAME" starts at the first pixel; PyTorch starts before it."""
    layer = conv3x3(1, 1, stride=2, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0)
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    chex.assert_trees_all_equal(layer(x), x[:, ::2, ::2])


def test_biases_are_those_of_the_notes():
    assert conv3x3(2, 3, rngs=nnx.Rngs(0)).bias is None
    chex.assert_trees_all_equal(conv1x1(2, 3, rngs=nnx.Rngs(0)).bias[...], jnp.zeros(3))


def test_initial_kernel_has_the_variance_of_fan_out():
    kernel = conv3x3(256, 128, rngs=nnx.Rngs(0)).kernel[...]
    # 294,912 normal draws: their standard deviation is known to 0.13%, so 1% is 7 sigma.
    assert jnp.std(kernel) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.01)
    assert jnp.abs(jnp.mean(kernel)) < 7 * jnp.std(kernel) / kernel.size**0.5


def test_groups_convolve_apart():
    layer = conv(4, 4, 3, groups=2, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 5, 5, 4))
    changed = layer(x.at[..., 2:].set(0.0))
    chex.assert_trees_all_equal(changed[..., :2], layer(x)[..., :2])

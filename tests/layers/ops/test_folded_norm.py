"""A norm that is folded into a convolution, against the two one after the other."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_jax.layers.ops import convolve_folded, normalize_batch

IN, OUT = 24, 64
P = jax.P


def one_after_the_other(x, kernel, *, scale, bias, epsilon):
    """As `convolve_folded`, in the dtype of x and with statistics in that of `scale`."""
    y = lax.dot_general(x, kernel.astype(x.dtype), (((4,), (0,)), ((), ())))
    values = y.astype(scale.dtype)
    normalized, mean, var = normalize_batch(values, scale=scale, bias=bias, epsilon=epsilon)
    rows = (len(x), kernel.shape[1])
    return normalized.astype(x.dtype), mean.reshape(rows), var.reshape(rows)


def call(function, x, kernel, scale, bias):
    return function(x, kernel, scale=scale, bias=bias, epsilon=1e-5)


folded, apart = (functools.partial(call, each) for each in (convolve_folded, one_after_the_other))


def draw(groups=1, *, offset=0.0, shape=(8, 6, 7)):
    """Activations after a ReLU, a kernel, scale and bias in float64, exact in bfloat16."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(groups, *shape, IN)) @ rng.normal(size=(IN, IN)) / IN**0.5
    values = (
        np.maximum(mixed + offset, 0),
        rng.normal(size=(IN, OUT)) * (2 / OUT) ** 0.5,
        rng.uniform(0.5, 1.5, OUT),
        rng.normal(size=OUT),
    )
    return tuple(np.asarray(value, jnp.bfloat16).astype(np.float64) for value in values)


def derived(function, arguments, dtype):
    """The results and the gradients of a weighted sum of all of them, computed in a dtype."""
    with jax.enable_x64(True):
        inner = jnp.float64 if dtype == "float64" else jnp.float32
        x, *rest = (jnp.asarray(value) for value in arguments)
        arrays = (x.astype(dtype), *(value.astype(inner) for value in rest))
        results, pullback = jax.jit(lambda *a: jax.vjp(function, *a))(*arrays)
        rng = np.random.default_rng(1)
        weights = tuple(
            jnp.asarray(rng.normal(0.3, 1, result.shape), result.dtype) for result in results
        )
        return [np.asarray(leaf, np.float64) for leaf in (*results, *pullback(weights))]


def errors(found, expected):
    return [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(found, expected, strict=True)
    ]


# Five times what they are.
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_the_norm_of_the_convolution(groups, dtype, bound):
    arguments = draw(groups)
    expected = derived(apart, arguments, "float64")
    assert max(errors(derived(folded, arguments, dtype), expected)) < bound


# At how many times the error of the result the two layers are at least.
@pytest.mark.parametrize(("offset", "factor"), [(0, 1 / 1.3), (10, 4), (100, 30)])
def test_its_rounding_in_half_precision_is_that_of_two_layers_or_smaller(offset, factor):
    """It is smaller where means are large: the result is centred before it is rounded."""
    arguments = draw(offset=offset)
    expected = derived(apart, arguments, "float64")
    found = errors(derived(folded, arguments, "bfloat16"), expected)
    usual = errors(derived(apart, arguments, "bfloat16"), expected)
    assert usual[0] > factor * found[0]
    # Measured: up to 1.17 times, as the kernel is rounded after it was scaled.
    assert all(one < 1.3 * other for one, other in zip(found, usual, strict=True)), (found, usual)


# Rounding of gradients up to a thousand: those are divided by the root of epsilon.
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-2), ("bfloat16", 8.0)])
def test_what_does_not_vary_becomes_the_bias(dtype, bound):
    _, kernel, scale, bias = draw()
    constant = np.full((1, 8, 6, 7, IN), 3.0)
    alone = draw(shape=(1, 1, 1))[0]
    for x in (constant, alone):
        found = derived(folded, (x, kernel, scale, bias), dtype)
        expected = derived(apart, (x, kernel, scale, bias), "float64")
        np.testing.assert_array_equal(found[0], np.broadcast_to(bias, found[0].shape))
        assert found[2].max() == 0
        np.testing.assert_allclose(found[3], expected[3], rtol=0.02, atol=bound)


def test_a_dead_channel_has_no_gradient_through_its_variance():
    x, kernel, scale, bias = draw()
    kernel[:, 0] = 0
    found = derived(folded, (x, kernel, scale, bias), "float32")
    chex.assert_tree_all_finite(found)
    assert found[2][:, 0].max() == 0
    np.testing.assert_array_equal(found[0][..., 0], np.float32(bias[0]))


@pytest.fixture
def arrays():
    return tuple(jnp.asarray(value, jnp.float32) for value in draw())


def loss(x, *rest):
    return jnp.mean(folded(x, *rest)[0] ** 3)


def test_it_can_be_mapped(arrays):
    x, *rest = arrays
    several = jnp.stack([x, 2 * x, x + 1])
    mapped = jax.vmap(jax.grad(loss, (0, 1)), (0, None, None, None))(several, *rest)
    each = [jax.grad(loss, (0, 1))(x, *rest) for x in several]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    assert max(errors(mapped, together)) < 1e-5  # ten times the rounding of such sums


def test_its_gradient_has_a_gradient(arrays):
    def size(function):
        def of_gradients(*arrays):
            gradients = jax.grad(lambda *a: jnp.mean(function(*a)[0] ** 3), (0, 1))(*arrays)
            return sum(jnp.sum(gradient**2) for gradient in gradients)

        return jax.grad(of_gradients, (0, 1))(*arrays)

    assert max(errors(size(folded), size(apart))) < 1e-3


def test_each_device_of_a_shard_map_has_a_group(arrays):
    x, *rest = arrays
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def total(x, *rest):
        return lax.psum(loss(x, *rest), "data")

    split = jax.shard_map(total, mesh=mesh, in_specs=(P("data"), P(), P(), P()), out_specs=P())
    found = jax.jit(jax.grad(split, (0, 1, 2, 3)))(x, *rest)
    assert max(errors(found, jax.grad(loss, (0, 1, 2, 3))(x, *rest))) < 1e-5


@pytest.mark.parametrize("setting", ["jax_numpy_rank_promotion", "jax_numpy_dtype_promotion"])
def test_nothing_is_promoted(arrays, setting):
    config = {"jax_numpy_rank_promotion": "raise", "jax_numpy_dtype_promotion": "strict"}
    with getattr(jax, setting.removeprefix("jax_"))(config[setting]):
        jax.grad(lambda *a: jnp.sum(folded(*a)[0]), (0, 1))(*arrays)

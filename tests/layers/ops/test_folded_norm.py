"""A norm that is folded into a convolution, against the two one after the other."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_jax.layers.ops import convolve_folded, normalize_batch

EPSILON = 1e-5
IN, OUT = 24, 64
# Several times what they are: in bfloat16 4e-3 for all of them, in float32 4e-6.
BOUNDS = {"float64": 1e-12, "float32": 2e-5}


def one_after_the_other(x, kernel, scale, bias, epsilon):
    """As `convolve_folded`, in the dtype of the kernel's product with x and that of `scale`."""
    y = lax.dot_general(x, kernel.astype(x.dtype), (((4,), (0,)), ((), ())))
    values = y.astype(scale.dtype)
    normalized, mean, var = normalize_batch(values, scale=scale, bias=bias, epsilon=epsilon)
    rows = (len(x), kernel.shape[1])
    return normalized.astype(x.dtype), mean.reshape(rows), var.reshape(rows)


@pytest.fixture(params=[1, 2], ids=["a group", "two groups"])
def arguments(request):
    """Activations after a ReLU, a kernel, scale and bias in float64, exact in bfloat16."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(request.param, 8, 6, 7, IN)) @ rng.normal(size=(IN, IN)) / IN**0.5
    values = (
        np.maximum(mixed, 0),
        rng.normal(size=(IN, OUT)) * (2 / OUT) ** 0.5,
        rng.uniform(0.5, 1.5, OUT),
        rng.normal(size=OUT),
    )
    return tuple(np.asarray(value, jnp.bfloat16).astype(np.float64) for value in values)


def derived(function, arguments, dtype, weights=None):
    """The results and the gradients of a weighted sum of all of them, computed in a dtype."""
    with jax.enable_x64(True):
        inner = jnp.float64 if dtype == "float64" else jnp.float32
        x, *rest = (jnp.asarray(value) for value in arguments)
        arrays = (x.astype(dtype), *(value.astype(inner) for value in rest))
        results, pullback = jax.jit(lambda *a: jax.vjp(lambda *b: function(*b, EPSILON), *a))(
            *arrays
        )
        rng = np.random.default_rng(1)
        weights = [rng.normal(0.3, 1, result.shape) for result in results]
        weights = [
            jnp.asarray(weight, result.dtype)
            for weight, result in zip(weights, results, strict=True)
        ]
        return [np.asarray(leaf, np.float64) for leaf in (*results, *pullback(tuple(weights)))]


def errors(found, expected):
    return [
        np.linalg.norm(one - other) / np.linalg.norm(other)
        for one, other in zip(found, expected, strict=True)
    ]


@pytest.mark.parametrize("dtype", BOUNDS)
def test_it_is_the_norm_of_the_convolution(arguments, dtype):
    found = derived(convolve_folded, arguments, dtype)
    expected = derived(one_after_the_other, arguments, "float64")
    assert max(errors(found, expected)) < BOUNDS[dtype]


def test_it_is_as_precise_in_half_precision(arguments):
    expected = derived(one_after_the_other, arguments, "float64")
    folded = errors(derived(convolve_folded, arguments, "bfloat16"), expected)
    apart = errors(derived(one_after_the_other, arguments, "bfloat16"), expected)
    y, mean, var, of_x, of_kernel, of_scale, _ = zip(folded, apart, strict=True)
    for found, usual in (y, of_x):  # one more product is rounded, 1.2 times the error
        assert found < 1.5 * usual
    for found, usual in (mean, var, of_kernel, of_scale):  # sums of what has not been rounded
        assert found < usual


def test_a_constant_channel_has_no_gradient_through_its_variance(arguments):
    x, kernel, scale, bias = arguments
    kernel[:, 0] = 0
    found = derived(convolve_folded, (x, kernel, scale, bias), "float32")
    chex.assert_tree_all_finite(found)
    assert found[2][:, 0].max() == 0
    np.testing.assert_array_equal(found[0][..., 0], np.float32(bias[0]))


def test_it_can_be_mapped(arguments):
    x, *rest = (jnp.asarray(value, jnp.float32) for value in arguments)

    def loss(x, *rest):
        return jnp.sum(convolve_folded(x, *rest, EPSILON)[0] ** 3)

    several = jnp.stack([x, 2 * x, x + 1])
    mapped = jax.vmap(jax.grad(loss, (0, 1)), (0, None, None, None))(several, *rest)
    each = [jax.grad(loss, (0, 1))(x, *rest) for x in several]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    assert max(errors(mapped, together)) < 1e-5  # ten times the rounding of such sums

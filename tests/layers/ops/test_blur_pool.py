"""Blur pooling by a matrix, as on TPUs, against sums of views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.layers import blur_pool
from resnet_jax.layers.ops.blur_pool import _Filtered


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("axis", [1, 2])
def test_the_matrix_of_a_tpu_computes_the_same(axis, size, dtype):
    key = jax.random.key(size)
    x = jax.random.normal(key, (2, size, size, 3), dtype)
    weights = jnp.array([0.25, 0.5, 0.25], dtype)
    form = _Filtered(axis, 2)
    want, want_pullback = jax.vjp(form.default, x, weights)
    got, pullback = jax.vjp(form.tpu, x, weights)
    assert got.dtype == dtype
    bound = 8 * float(jnp.finfo(dtype).eps)  # of sums of three numbers of about one
    np.testing.assert_allclose(np.float32(got), np.float32(want), atol=bound, rtol=bound)
    by_x, want_by_x = pullback(got)[0], want_pullback(got)[0]
    np.testing.assert_allclose(np.float32(by_x), np.float32(want_by_x), atol=bound, rtol=bound)


def test_a_tpu_gets_products_and_other_platforms_do_not():
    pool = jax.jit(lambda x: blur_pool(x, stride=2))
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    for platform, products in (("tpu", 2), ("cuda", 0), ("cpu", 0)):
        text = pool.trace(x).lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.dot_general") == products

"""Max pooling and its gradient, against XLA's own."""

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jaxlib.mlir.passmanager import PassManager

from resnet_jax.layers import max_pool


def usual_pool(x, *, window, stride):
    padding = (window // 2, window // 2)
    return nnx.max_pool(x, (window, window), strides=(stride, stride), padding=(padding, padding))


def functions(*shape, window=3, stride=2, dtype=jnp.float32):
    x = jax.random.normal(jax.random.key(0), (2, *shape, 4))
    x = jnp.round(2 * x).astype(dtype)  # with equal values in most windows
    pooled = usual_pool(x, window=window, stride=stride)
    weights = jax.random.normal(jax.random.key(1), pooled.shape, dtype)

    def of(pool):
        return lambda x: jnp.sum(jnp.sin(pool(x, window=window, stride=stride)) * weights)

    ours, theirs = of(max_pool), of(usual_pool)
    return ours, theirs, x


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(8, 8), (9, 8), (7, 5), (1, 2)], ids=str)
def test_value_and_gradient(shape, dtype):
    ours, theirs, x = functions(*shape, dtype=dtype)
    special = x.at[0, 0, 1].set(jnp.nan).at[1].set(-jnp.inf)  # which the maximum has to show
    chex.assert_trees_all_equal(max_pool(special), usual_pool(special, window=3, stride=2))
    # A pixel may be the maximum of four windows, whose gradients are added in another order.
    error = 4 * jnp.finfo(dtype).eps
    chex.assert_trees_all_close(
        *(jax.jit(jax.grad(f))(x) for f in (ours, theirs)), rtol=error, atol=error
    )


TRANSFORMS = {
    "forward": lambda f, x: jax.jvp(f, (x,), (x + 1,))[1],
    "second": lambda f, x: jax.jvp(jax.grad(f), (x,), (x + 1,))[1],
    "mapped": lambda f, x: jax.vmap(jax.grad(f))(x[:, None]),
    "remat": lambda f, x: jax.grad(jax.checkpoint(f))(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=list(TRANSFORMS))
def test_transforms(transform):
    ours, theirs, x = functions(6, 6)
    chex.assert_trees_all_close(transform(ours, x), transform(theirs, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (5, 2), (3, 3)])
def test_other_windows(window, stride):
    ours, theirs, x = functions(9, 9, window=window, stride=stride)
    chex.assert_trees_all_close(jax.grad(ours)(x), jax.grad(theirs)(x), rtol=1e-6, atol=1e-6)


def lowered(function, x, platform):
    return jax.jit(jax.value_and_grad(function)).trace(x).lower(lowering_platforms=(platform,))


def test_a_tpu_gets_the_usual_program():
    ours, theirs, x = functions(8, 8)
    texts = [_without_dead_code(lowered(f, x, "tpu")) for f in (ours, theirs)]
    assert texts[0] == texts[1]
    assert "select_and_scatter" in texts[0]


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_gpu_gets_a_gradient_without_a_scatter(platform, mapped):
    ours, _, x = functions(8, 8)
    if mapped:
        one, x = ours, x[:, None]
        ours = lambda x: jax.vmap(one)(x).sum()  # noqa: E731
    text = lowered(ours, x, platform).as_text()
    assert "scatter" not in text
    assert "reduce_window" in text  # the forward pass is XLA's


def _without_dead_code(lowered):
    module = lowered.compiler_ir("stablehlo")
    with module.context:
        PassManager.parse("builtin.module(cse,canonicalize)").run(module.operation)
    return str(module)

"""The convolution on CPUs, against `jax.lax.conv_general_dilated` on the same platform."""

import functools

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax
from jax.sharding import PartitionSpec

from resnet_jax.layers import conv
from resnet_jax.layers.ops import convolve

CASES = [(1, 1, 1), (1, 2, 1), (3, 1, 1), (3, 2, 1), (3, 2, 2), (7, 2, 1)]  # kernel, stride, groups
# Batch, height and width, features in and out, kernel, stride: each a way of its own on a CPU.
SHAPES = [
    (2, 6, 8, 3, 16, 3, 1),  # four pixels at once
    (2, 5, 8, 16, 8, 3, 1),  # two, there and back
    (2, 6, 7, 16, 8, 3, 1),  # which an odd width does not allow
    (4, 18, 16, 16, 20, 3, 1),  # the kernel's gradient by products, an image at a time
    (1, 32, 34, 20, 6, 3, 2),
    (2, 17, 19, 16, 6, 5, 1),
    (2, 8, 6, 6, 8, 1, 1),  # the shorter features first
    (8, 6, 7, 64, 80, 3, 1),  # fewer multiplications, where nothing is differentiated
    (1, 33, 35, 16, 6, 5, 2),  # the gradient by products, with an odd last row
    (1, 49, 50, 16, 6, 3, 3),
    (1, 64, 66, 16, 6, 3, 4),  # and with rows that no part of the kernel meets
]
# Sums of at most 7 * 7 * 8 products of normal numbers, added in another order.
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-5)


def functions(
    kernel_size, stride, groups, *, size=(8, 8), in_features=8, features=6, batch=2, **more
):
    """Makes ours, that of lax, and arguments for both; `all` of each gives the whole output."""
    padding = (kernel_size - 1) // 2
    settings = {
        "window_strides": (stride, stride),
        "padding": ((padding, padding), (padding, padding)),
        "dimension_numbers": ("NHWC", "HWIO", "NHWC"),
        "feature_group_count": groups,
        **more,
    }
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (batch, *size, in_features))
    # The output's variance is 1.
    shape = (kernel_size, kernel_size, in_features // groups, features)
    kernel = jax.random.normal(keys[1], shape) / (kernel_size**2 * shape[2]) ** 0.5
    ours, theirs = (
        _scalar(functools.partial(function, **settings))
        for function in (convolve, lax.conv_general_dilated)
    )
    return ours, theirs, (x, kernel)


def _scalar(convolution):
    def function(x, kernel):
        return jnp.mean(jnp.sin(convolution(x, kernel)))

    function.all = convolution
    return function


def mapped(function, x, kernel):
    return jax.vmap(function, (0, None))(x[:, None], kernel)


def mapped_gradient(function, x, kernel):
    kernels = jnp.stack([kernel, -kernel])
    return jax.vmap(jax.grad(function, (0, 1)), (None, 0))(x, kernels)


def gradient_of_mapped(function, x, kernel):
    kernels = jnp.stack([kernel, -kernel])
    both = jax.vmap(function, (None, 0))
    return jax.grad(lambda x, kernels: both(x, kernels).prod(), (0, 1))(x, kernels)


def sharded_gradient(function, x, kernel):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split, whole = PartitionSpec("data"), PartitionSpec()
    sharded = jax.shard_map(
        lambda x, kernel: lax.pmean(function(x, kernel), "data"),
        mesh=mesh,
        in_specs=(split, whole),
        out_specs=whole,
    )
    return jax.grad(sharded, (0, 1))(x, kernel)


TRANSFORMS = {
    "value": lambda f, *args: f(*args),
    "gradient": lambda f, *args: jax.grad(f, (0, 1))(*args),
    "forward": lambda f, *args: jax.jvp(f, args, args)[1],
    "second": lambda f, *args: jax.jvp(jax.grad(f, (0, 1)), args, args)[1],
    "remat": lambda f, *args: jax.grad(jax.checkpoint(f), (0, 1))(*args),
    "mapped": mapped,
    "mapped gradient": mapped_gradient,
    "of mapped": gradient_of_mapped,
    "backward twice": lambda f, *args: jax.grad(lambda *a: jnp.vdot(jax.grad(f)(*a), a[0]), 1)(
        *args
    ),
    "sharded gradient": sharded_gradient,
}


def same(transform, ours, theirs, args):
    close(*(jax.jit(functools.partial(transform, f))(*args) for f in (ours, theirs)))


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=list(TRANSFORMS))
@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_transforms_to_what_lax_does(case, transform):
    ours, theirs, args = functions(*case)
    same(transform, ours, theirs, args)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compiles_to_what_lax_does(case):
    ours, theirs, args = functions(*case)
    chex.assert_trees_all_equal_shapes_and_dtypes(ours(*args), theirs(*args))
    close(*(jax.jit(jax.value_and_grad(f, (0, 1)))(*args) for f in (ours, theirs)))


def shaped(batch, height, width, in_features, features, kernel_size, stride):
    sizes = {"batch": batch, "size": (height, width), "in_features": in_features}
    return functions(kernel_size, stride, 1, features=features, **sizes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_way_of_a_cpu_computes_what_lax_does(shape):
    ours, theirs, args = shaped(*shape)
    names = ("gradient", "second", "of mapped")
    same(lambda f, *args: [TRANSFORMS[name](f, *args) for name in names], ours, theirs, args)
    same(TRANSFORMS["value"], ours.all, theirs.all, args)


@pytest.mark.parametrize(
    ("shape", "by", "text", "count"),
    [
        (SHAPES[0], 0, "stride = [1, 4]", 1),
        (SHAPES[1], 0, "stride = [1, 2]", 2),  # there and back
        (SHAPES[2], 0, "stride = [1, 1]", 2),
        (SHAPES[3], 1, "stablehlo.while", 1),
        (SHAPES[7], None, "stablehlo.dot_general", 16),
    ],
)
def test_the_way_is_taken(shape, by, text, count):
    ours, _, args = shaped(*shape)
    wanted = ours if by is None else jax.grad(ours, by)
    assert jax.jit(wanted).lower(*args).as_text().count(text) == count


def test_what_is_not_plain_is_left_to_lax():
    ours, theirs, args = functions(3, 1, 1, batch_group_count=2)
    close(ours.all(*args), theirs.all(*args))
    images = (1, 9, 9, 8)
    transposed = [
        function(
            jnp.ones(images).transpose(0, 3, 1, 2),
            jnp.ones((3, 3, 8, 4)),
            (1, 1),
            ((1, 1), (1, 1)),
            dimension_numbers=("NCHW", "HWIO", "NCHW"),
        )
        for function in (convolve, lax.conv_general_dilated)
    ]
    close(*transposed)


def test_a_symbolic_batch_has_gradients():
    ours, theirs, (x, kernel) = functions(3, 1, 1, size=(16, 16), in_features=16)
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = (
        jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype),
        jax.ShapeDtypeStruct(kernel.shape, kernel.dtype),
    )
    exported = jax.export.export(jax.jit(jax.grad(ours, (0, 1))))(*shapes)
    close(exported.call(x, kernel), jax.grad(theirs, (0, 1))(x, kernel))


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_other_platforms_get_the_program_of_lax(case, platform):
    ours, theirs, args = functions(*case)
    text, expected = (
        jax.jit(jax.value_and_grad(f, (0, 1))).trace(*args).lower(lowering_platforms=(platform,))
        for f in (ours, theirs)
    )
    assert text.as_text() == expected.as_text()


def test_one_artefact_serves_every_platform():
    layer = conv(8, 6, 1, stride=2, rngs=nnx.Rngs(0))
    (batch,) = jax.export.symbolic_shape("batch")
    x = jax.random.normal(jax.random.key(0), (3, 8, 8, 8))
    exported = jax.export.export(jax.jit(layer), platforms=("cpu", "cuda", "tpu"))(
        jax.ShapeDtypeStruct((batch, 8, 8, 8), jnp.float32)
    )
    close(exported.call(x), layer(x))

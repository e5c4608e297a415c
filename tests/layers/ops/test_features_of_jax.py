"""Each feature of JAX does to our network what it does to the same one in JAX's own operations."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export, lax
from jax.experimental import jet, roofline
from jax.sharding import AxisType, NamedSharding

from resnet_jax import ResidualBlock, conv3x3, functional
from resnet_jax.layers import max_pool

P = jax.P
COUNT = len(jax.devices())


class Network(nnx.Module):
    """A convolution, a pool, and a residual block with a convolution on its shortcut."""

    def __init__(self, *, rngs):
        self.conv = conv3x3(4, 16, rngs=rngs)
        self.block = ResidualBlock(16, 32, stride=2, rngs=rngs)

    def __call__(self, x):
        return self.block(max_pool(self.conv(x)))

    def smooth(self, x):
        """For `jet`, which takes neither XLA's pooling nor `jax.nn.relu`."""
        x, block = self.conv(x), self.block
        return jnp.tanh(block.norm1(block.conv1(x))) + block.shortcut(x)


init, ours = functional(Network)


def plain(params, stats, x, train, method="__call__"):
    """The same in `jax.lax` and `jax.numpy`."""
    block, updated = params["block"], {}

    def conv(layer, x, stride=1):
        side = len(layer["kernel"]) // 2
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, layer["kernel"], (stride, stride), [(side, side)] * 2, dimension_numbers=numbers
        )
        return y + by_feature(layer["bias"]) if "bias" in layer else y

    def norm(name, x):
        mean, var = (stats["block"][name][moment] for moment in ("mean", "var"))
        if train:
            old, (mean, var) = (mean, var), (x.mean((0, 1, 2)), x.var((0, 1, 2)))
            moved = [0.9 * before + 0.1 * now for before, now in zip(old, (mean, var), strict=True)]
            updated[name] = lax.stop_gradient({"mean": moved[0], "var": moved[1]})
        mean, var, scale, bias = map(
            by_feature, (mean, var, block[name]["scale"], block[name]["bias"])
        )
        return (x - mean) * lax.rsqrt(var + 1e-5) * scale + bias

    x = conv(params["conv"], x)
    if method == "smooth":
        return jnp.tanh(norm("norm1", conv(block["conv1"], x, 2))) + conv(
            block["shortcut"], x, 2
        ), stats
    sides = [(0, 0), (1, 1), (1, 1), (0, 0)]
    x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), sides)
    y = jax.nn.relu(norm("norm1", conv(block["conv1"], x, 2)))
    y = norm("norm2", conv(block["conv2"], y))
    y = jax.nn.relu(y + conv(block["shortcut"], x, 2))
    return y, ({"block": updated} if train else stats)


def by_feature(values):
    return values.reshape(1, 1, 1, -1)


def loss(network, params, stats, x):
    """Returns a number that depends on everything, and the new statistics."""
    y, stats = network(params, stats, x, True)
    return (y * jnp.cos(y)).mean(), stats


def gradients(network, params, stats, x):
    return jax.grad(
        lambda params, x: loss(network, params, stats, x), argnums=(0, 1), has_aux=True
    )(params, x)


def value_and_gradients(network, *args):
    return network(*args, True), network(*args, False), gradients(network, *args)


def jitted(network, *args):
    return jax.jit(lambda *args: value_and_gradients(network, *args))(*args)


def under(context, *, compute=jitted):
    """Computes values and gradients in a context such as `jax.disable_jit()`."""

    def feature(network, *args):
        with context():
            return compute(network, *args)

    return feature


def on_mesh(kind, *, sets_mesh):
    """Splits the batch over a mesh; the types of arrays have their sharding if it is Explicit."""

    def feature(network, params, stats, x):
        mesh = jax.make_mesh((COUNT,), ("data",), axis_types=(kind,))
        whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
        args = (*jax.device_put((params, stats), whole), jax.device_put(x, split))
        if sets_mesh:
            with jax.set_mesh(mesh):
                return jitted(network, *args)
        return jitted(network, *args)

    return feature


def in_shard_map(*, check_vma):
    def feature(network, params, stats, x):
        mesh = jax.make_mesh((COUNT,), ("data",), axis_types=(AxisType.Auto,))

        def local(params, x):
            return network(params, stats, x, True)[0]

        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=check_vma
        )
        return jax.jit(jax.value_and_grad(lambda *args: jnp.cos(mapped(*args)).mean(), (0, 1)))(
            params, x
        )

    return feature


def in_pmap(network, params, stats, x):
    parts = x.reshape(COUNT, -1, *x.shape[1:])
    return jax.pmap(lambda x: gradients(network, params, stats, x))(parts)


def in_vmap(network, params, stats, x):
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)

    def both_ways(both, x):
        each = jax.vmap(lambda params, x: gradients(network, params, stats, x), (0, None))(both, x)
        examples = jax.vmap(lambda x: gradients(network, params, stats, x[None]))(x)
        return each, examples

    return jax.jit(both_ways)(both, x)


def tangents(tree):
    return jax.tree.map(lambda leaf: jnp.cos(leaf) * 0.1, tree)


def in_jvp(network, params, stats, x):
    def function(params, x):
        return network(params, stats, x, True)

    value = jax.jvp(function, (params, x), (tangents(params), tangents(x)))
    y, linear = jax.linearize(function, params, x)
    z, transposed = jax.vjp(function, params, x)
    return value, y, linear(tangents(params), tangents(x)), z, transposed(tangents(z))


def hessian_vector(network, params, stats, x):
    def gradient(params):
        return gradients(network, params, stats, x)[0]

    def along(params):
        return sum(jnp.vdot(a, b) for a, b in pairs(gradient(params)[0], tangents(params)))

    forward = jax.jit(lambda params: jax.jvp(gradient, (params,), (tangents(params),))[1])(params)
    reverse = jax.jit(jax.grad(along))(params)
    return forward, reverse


def pairs(one, other):
    return zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)


def in_jet(network, params, stats, x):
    def function(x):
        return network(params, stats, x, False, method="smooth")[0]

    return jet.jet(function, (x,), ((tangents(x), jnp.ones_like(x), x),))


def checkpointed(network, params, stats, x):
    policies = jax.checkpoint_policies
    chosen = [
        None,
        policies.dots_saveable,
        policies.nothing_saveable,
        policies.everything_saveable,
        policies.dots_with_no_batch_dims_saveable,
    ]

    def gradient(params, policy):
        saving = jax.checkpoint(lambda params: loss(network, params, stats, x)[0], policy=policy)
        return jax.grad(saving)(params)

    return jax.jit(lambda params: [gradient(params, policy) for policy in chosen])(params)


def in_control_flow(network, params, stats, x):
    def step(carry, x):
        params, stats = carry
        (gradient, _), stats = gradients(network, params, stats, x[None])
        params = jax.tree.map(lambda value, change: value - 0.1 * change, params, gradient)
        return (params, stats), squared_norm(gradient)

    scanned = lax.scan(step, (params, stats), x[:3])
    chosen = lax.cond(
        x.sum() > 0,
        lambda: gradients(network, params, stats, x),
        lambda: gradients(network, params, stats, -x),
    )
    looped = lax.fori_loop(0, 2, lambda _, x: network(params, stats, x, False)[0].mean() + x, x)
    return scanned, chosen, looped


def squared_norm(tree):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def in_custom_vjp(network, params, stats, x):
    @jax.custom_vjp
    def function(x):
        return loss(network, params, stats, x)[0]

    def forward(x):
        value, transposed = jax.vjp(lambda x: loss(network, params, stats, x)[0], x)
        return value, transposed

    function.defvjp(forward, lambda transposed, change: transposed(3 * change))
    return jax.value_and_grad(function)(x)


def exported(network, *args):
    whole = export.export(
        jax.jit(lambda *args: value_and_gradients(network, *args)), platforms=("cpu", "cuda", "tpu")
    )(*args)
    return export.deserialize(whole.serialize()).call(*args)


def from_jaxpr(network, *args):
    closed, shapes = jax.make_jaxpr(
        lambda *args: value_and_gradients(network, *args), return_shape=True
    )(*args)
    leaves = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def in_double_precision(network, *args):
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), args)
        return jax.tree.map(np.asarray, jitted(network, *wide))


# The same as without them.
SETTINGS = {
    "no jit": value_and_gradients,
    "disable_jit": under(jax.disable_jit),
    "fake_jit": under(chex.fake_jit),
    "debug_nans": under(lambda: jax.debug_nans(True)),
    "debug_infs": under(lambda: jax.debug_infs(True), compute=value_and_gradients),
    "checking_leaks": under(jax.checking_leaks),
    "strict promotion of dtypes": under(lambda: jax.numpy_dtype_promotion("strict")),
    "no promotion of ranks": under(lambda: jax.numpy_rank_promotion("raise")),
    "transfer_guard": under(lambda: jax.transfer_guard("disallow")),
    "Auto mesh": on_mesh(AxisType.Auto, sets_mesh=True),
    "Explicit mesh": on_mesh(AxisType.Explicit, sets_mesh=True),
    "Explicit mesh of the arrays": on_mesh(AxisType.Explicit, sets_mesh=False),
    "export": exported,
    "make_jaxpr, eval_jaxpr": from_jaxpr,
}
# The same as for plain operations.
TRANSFORMATIONS = {
    "shard_map": in_shard_map(check_vma=True),
    "shard_map without check_vma": in_shard_map(check_vma=False),
    "pmap": in_pmap,
    "vmap": in_vmap,
    "jvp, linearize, vjp": in_jvp,
    "hessian-vector products": hessian_vector,
    "jet": in_jet,
    "checkpoint policies": checkpointed,
    "scan, cond, fori_loop": in_control_flow,
    "custom_vjp": in_custom_vjp,
    "x64": in_double_precision,
}


@pytest.fixture(scope="module")
def args():
    params, stats = init(jax.random.key(0))
    return params, stats, jax.random.normal(jax.random.key(1), (8, 16, 16, 4))


@pytest.fixture(scope="module")
def expected(args):
    return jitted(plain, *args)


def assert_same(mine, theirs):
    for (path, a), b in zip(jax.tree.leaves_with_path(mine), jax.tree.leaves(theirs), strict=True):
        # The forms for CPUs add in another order; 5e-6 of the largest value was seen.
        bound = 5e-5 * max(float(jnp.abs(b).max()), 1e-3)
        np.testing.assert_allclose(a, b, rtol=0, atol=bound, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_settings_change_nothing(setting, args, expected):
    assert_same(setting(ours, *args), expected)


@pytest.mark.parametrize("transform", TRANSFORMATIONS.values(), ids=list(TRANSFORMATIONS))
def test_transformations_do_what_they_do_to_plain_operations(transform, args):
    assert_same(transform(ours, *args), transform(plain, *args))


def test_roofline_counts_the_same_operations(args):
    def count(network):
        return roofline.roofline(lambda *args: network(*args, False)[0])(*args)[1]

    # All but some of the operations on single values are convolutions'.
    assert count(ours).unfused_flops == pytest.approx(count(plain).unfused_flops, rel=0.01)


@pytest.mark.parametrize("network", [ours, plain], ids=["ours", "plain"])
def test_the_operation_that_makes_a_nan_is_named(network, args):
    params, stats, x = args
    broken = jax.tree.map_with_path(
        lambda path, leaf: leaf * (jnp.nan if "conv2" in str(path) else 1), params
    )
    message = r"invalid value \(nan\) encountered in conv_general_dilated"
    with jax.debug_nans(True), pytest.raises(FloatingPointError, match=message) as caught:
        jax.jit(lambda *args: loss(network, *args))(broken, stats, x)
    if network is ours:
        places = [(entry.path.name, entry.name) for entry in caught.traceback]
        assert ("residual.py", "__call__") in places


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["0", "1"])
def test_so_it_is_with_and_without_forms_for_cpus_on_four_devices(switch):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"RESNET_JAX_CPU_FORMS": switch, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

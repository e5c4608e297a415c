"""Trees that files restore are matched by name."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
from flax import linen, nnx, serialization, traverse_util

from resnet_jax import create_model, functional
from resnet_jax.interop.linen import to_linen
from resnet_jax.interop.trees import TreeLayout

NAMES = [
    "resnet20",
    "resnet110",
    pytest.param("resnet152", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=NAMES)
def network(request):
    """A network and its variables, each leaf with values of its own."""
    build = request.param
    init, apply = functional(create_model, build, num_classes=4)
    shapes = jax.eval_shape(init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    filled = [np.full(leaf.shape, number, np.float32) for number, leaf in enumerate(leaves)]
    return build, apply, jax.tree.unflatten(structure, filled)


def by_msgpack(tree, _):
    return serialization.msgpack_restore(serialization.msgpack_serialize(tree))


def by_orbax(tree, folder):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "tree", tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(folder / "tree")


def by_safetensors(tree, _):
    flat = traverse_util.flatten_dict(tree, sep="/")
    restored = safetensors.numpy.load(safetensors.numpy.save(flat))
    return traverse_util.unflatten_dict(restored, sep="/")


def with_numbers(tree, _):
    """As `nnx.to_pure_dict` has it."""
    if not isinstance(tree, dict):
        return tree
    entries = {int(key) if key.isdecimal() else key: tree[key] for key in tree}
    return {key: with_numbers(entries[key], _) for key in sorted(entries, key=str)[::-1]}


TRIPS = [by_msgpack, by_orbax, by_safetensors, with_numbers]


@pytest.mark.parametrize("trip", TRIPS)
def test_pure_linen_and_nnx_take_what_comes_back(network, trip, tmp_path):
    """Each leaf gets its own values again, whatever the keys and their order."""
    name, apply, (params, batch_stats) = network
    trees = [trip(tree, tmp_path / kind) for kind, tree in (("p", params), ("s", batch_stats))]
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    _, stats = jax.eval_shape(lambda *args: apply(*args, False), *trees, x)
    chex.assert_trees_all_equal_structs(stats, batch_stats)
    module = nnx.eval_shape(lambda: create_model(name, num_classes=4))
    for kind, tree, original in zip(
        (nnx.Param, nnx.BatchStat), trees, (params, batch_stats), strict=True
    ):
        layout = TreeLayout.of("tree", nnx.state(module, kind))
        nnx.update(module, nnx.State(layout.from_names(tree)))
        chex.assert_trees_all_equal(layout.to_names(nnx.state(module, kind)), original)
    wrapped = to_linen(create_model, name, num_classes=4)
    variables = dict(zip(("params", "batch_stats"), trees, strict=True))
    jax.eval_shape(lambda variables, x: wrapped.apply(variables, x, train=False), variables, x)


def test_all_that_does_not_fit_is_in_one_error():
    init, apply = functional(create_model, "resnet8", num_classes=4)
    params, batch_stats = init(jax.random.key(0))
    params = params | {"head_of_another_network": params.pop("head")}
    params["stages"]["0"]["0"]["conv1"]["kernel"] = jnp.zeros((3, 3, 2, 2))
    with pytest.raises(ValueError, match="params do not fit the module") as caught:
        apply(params, batch_stats, jnp.zeros((1, 32, 32, 3)), False)
    message = str(caught.value)
    assert "2 missing: head/" in message
    assert "2 unexpected: head_of_another_network/" in message
    assert "stages/0/0/conv1/kernel [3, 3, 2, 2] instead of [3, 3, 16, 16]" in message


def test_a_wrapped_network_is_a_static_argument_and_has_other_methods():
    wrapped = to_linen(create_model, "resnet8", method="features")
    assert hash(wrapped) == hash(to_linen(create_model, "resnet8", method="features"))
    x = jnp.zeros((1, 32, 32, 3))
    variables = wrapped.init(jax.random.key(0), x, train=False)

    def call(module: linen.Module, variables, x):
        return module.apply(variables, x, train=False)

    maps = jax.jit(call, static_argnums=0)(wrapped, variables, x)
    assert [features.shape[-1] for features in maps] == [16, 16, 32, 64]


@pytest.mark.parametrize("trip", [by_safetensors, with_numbers])
def test_a_step_in_linen_keeps_the_keys_that_it_got(trip):
    wrapped = to_linen(create_model, "resnet8")
    x = jnp.zeros((2, 32, 32, 3))
    variables = wrapped.init(jax.random.key(0), x, train=False)
    variables = {kind: trip(jax.device_get(tree), None) for kind, tree in variables.items()}
    _, updated = wrapped.apply(variables, x, train=True, mutable=["batch_stats"])
    chex.assert_trees_all_equal_structs(updated["batch_stats"], variables["batch_stats"])


def test_a_built_module_is_refused():
    with pytest.raises(TypeError, match="got a built ResNet instead of something that builds one"):
        functional(create_model("resnet8"))

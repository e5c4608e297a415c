import dataclasses
import functools
import itertools
import math
import re

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from resnet_jax import (
    BatchNormConfig,
    ConfigError,
    ResNet,
    ResNetConfig,
    create_model,
    functional,
    linen,
    model_config,
)

TINY = ResNetConfig(
    depths=(1, 2), widths=(8, 16), stem="cifar", stem_features=8, num_classes=5, in_features=2
)


def vary(**settings):
    return dataclasses.replace(TINY, **settings)


def count(config):
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        # ResNet-18 without its three projections and their BatchNorms.
        ("plain18", 11_689_512 - (64 * 128 + 128 * 256 + 256 * 512) - 2 * (128 + 256 + 512)),
        # Stem, six convolutions, norms, head; shortcuts have no parameters.
        ("resnet8", 27 * 16 + 9 * (2 * 256 + 512 + 1024 + 2048 + 4096) + 2 * 240 + 650),
        ("resnet20", 269_722),
        ("plain20", 269_722),
    ],
)
def test_parameter_counts(name, parameters):
    assert count(model_config(name)) == parameters


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110, 1202])
def test_cifar_networks_have_6n_plus_2_layers(layers):
    config = model_config(f"resnet{layers}")
    assert 2 * sum(config.depths) + 2 == layers
    assert (config.widths, config.stem, config.shortcut) == ((16, 32, 64), "cifar", "a")
    assert config.num_classes == 10


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("block", ["basic", "bottleneck", "plain"])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_shapes_and_dtypes(block, stem, dtype):
    config = vary(block=block, stem=stem)
    init, apply = functional(ResNet, config, dtype=dtype)
    params, batch_stats = jax.eval_shape(init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((3, 32, 32, 2), dtype)
    train = functools.partial(apply, train=True)
    logits, batch_stats = jax.eval_shape(train, params, batch_stats, x)
    chex.assert_shape(logits, (3, 5))
    # Head, statistics and parameters stay in float32, whatever the computation is in.
    chex.assert_type(jax.tree.leaves((logits, params, batch_stats)), jnp.float32)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_features_have_the_shapes_that_feature_info_says(stem):
    model = nnx.eval_shape(lambda: ResNet(vary(stem=stem), rngs=nnx.Rngs(0)))
    maps = nnx.eval_shape(lambda model, x: model.features(x), model, jnp.ones((1, 32, 32, 2)))
    assert len(maps) == 3
    for array, (features, stride) in zip(maps, model.feature_info, strict=True):
        chex.assert_shape(array, (1, 32 // stride, 32 // stride, features))


def test_statistics_move_in_training_and_inputs_do_not():
    init, apply = functional(ResNet, TINY)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 2))
    state = init(jax.random.key(0))
    before = jax.tree.map(jnp.copy, (state, x))
    _, batch_stats = apply(*state, x, True)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), batch_stats, state[1])
    assert all(jax.tree.leaves(moved))
    chex.assert_trees_all_equal((state, x), before)
    chex.assert_trees_all_equal(apply(*state, x, False)[1], state[1])


def test_folded_norms_change_the_rounding_of_training_only():
    wide = vary(block="bottleneck", widths=(32, 64))
    x = jax.random.normal(jax.random.key(1), (8, 16, 16, 2))

    def both(config, dtype):
        model = ResNet(config, dtype=dtype, rngs=nnx.Rngs(0))
        evaluated = nnx.view(model, use_running_average=True)(x)
        return model(x), evaluated, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))

    folded = vary(**dataclasses.asdict(wide) | {"batch_norm": BatchNormConfig(fold=True)})
    exact, _, _ = both(wide, jnp.float32)
    chex.assert_trees_all_equal(both(folded, jnp.float32)[0], exact)
    apart, together = both(wide, jnp.bfloat16), both(folded, jnp.bfloat16)
    assert not jnp.array_equal(apart[0], together[0])
    chex.assert_trees_all_equal(apart[1], together[1])
    errors = [jnp.linalg.norm(trained - exact) for trained, _, _ in (apart, together)]
    assert errors[1] < 2 * errors[0]  # of 40 values, so that they differ by chance
    chex.assert_trees_all_close(apart[2], together[2], rtol=0.02, atol=1e-3)


def test_a_view_evaluates_and_leaves_the_network_in_training():
    model = create_model(vary(drop_path_rate=0.5), rngs=nnx.Rngs(0))
    view = nnx.view(model, use_running_average=True, deterministic=True)
    assert not model.stem.norm.use_running_average
    x = jnp.ones((2, 8, 8, 2))
    model.eval()
    chex.assert_trees_all_equal(view(x), model(x))


def test_zero_init_last_starts_every_block_as_its_shortcut():
    model = create_model(vary(depths=(3, 2), zero_init_last=True), rngs=nnx.Rngs(0))
    x = nnx.relu(jax.random.normal(jax.random.key(1), (2, 8, 8, 8)))
    for block in model.stages[0]:
        chex.assert_trees_all_equal(block(x), x)


def test_stochastic_depth_rises_linearly():
    config = vary(depths=(2, 3), drop_path_rate=0.4)
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    rates = [block.drop_path.rate for blocks in model.stages for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_dropout_and_depth_draw_from_the_rngs_of_the_call():
    model = create_model(vary(drop_path_rate=0.5, dropout_rate=0.5), rngs=nnx.Rngs(0))
    x = jnp.ones((2, 8, 8, 2))
    with pytest.raises(ValueError, match="needs randomness"):
        model(x)
    outputs = [model(x, rngs=nnx.Rngs(dropout=seed)) for seed in (0, 0, 1)]
    chex.assert_trees_all_equal(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()
    model.eval()
    model(x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block": "bottelneck"}, r"block='bottelneck' is unknown; .*Did you mean 'bottleneck'"),
        ({"shortcut": "e"}, r"shortcut='e' is unknown; choose one of a, b, c, d"),
        ({"stem": "imagnet"}, r"Did you mean 'imagenet'"),
        ({"activation": "rleu"}, r"Did you mean 'relu'"),
        ({"depths": (1,)}, r"depths=\(1,\) and widths=\(8, 16\) need one entry for each stage"),
        ({"widths": (0, 1)}, r"widths=\(0, 1\) must be at least 1"),
        ({"widths": (8, 2**31)}, r"widths=\(8, 2147483648\) must be at most 2147483647"),
        ({"widths": (8, 10**400)}, r"widths=\(8, 10+\.\.\.0+\) must be at most 2147483647"),
        ({"depths": (1,) * 33, "widths": (8,) * 33}, r"depths has 33 stages; use at most 32"),
        ({"mid_ratio": float("nan")}, r"mid_ratio=nan must lie in \(0, 1000\]"),
        ({"mid_ratio": 1e-3}, r"mid_ratio=0.001 and first_ratio=None leave no channels of 8"),
        ({"squeeze_ratio": float("inf")}, r"squeeze_ratio=inf must lie in \(0, 1000\]"),
        ({"first_ratio": -0.5}, r"first_ratio=-0.5 must lie in \(0, 1000\]"),
        ({"num_classes": -1}, r"num_classes=-1 must be at least"),
        ({"num_classes": 10**30}, r"num_classes=10+ must be at most"),
        ({"dropout_rate": 1.0}, r"dropout_rate=1.0 must lie in \[0, 1\)"),
        ({"stride_first": True}, r"stride_first=True does not go with block='basic'"),
        ({"block": "plain", "drop_path_rate": 0.1}, r"drop_path_rate=0.1 does not go with"),
    ],
)
def test_bad_settings_are_one_line(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        vary(**settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": float("nan")}, r"^batch_norm\.epsilon=nan must lie in \[0, 1\]\.$"),
        ({"momentum": -0.1}, r"^batch_norm\.momentum=-0\.1 must lie in \[0, 1\]\.$"),
        ({"group_size": 0}, r"^batch_norm\.group_size=0 must be at least 1\.$"),
    ],
)
def test_bad_settings_of_norms_are_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        BatchNormConfig(**settings)


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"no model 'resnet5'\. Did you mean .*'resnet50'"):
        create_model("resnet5")


@pytest.mark.parametrize("shape", [(8, 8, 2), (1, 2, 8, 8)])
def test_bad_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected images \[batch, height, width, 2\], got"):
        create_model(TINY, rngs=nnx.Rngs(0))(jnp.ones(shape))


def test_an_empty_batch_moves_nothing():
    init, apply = functional(ResNet, vary(stem="imagenet", shortcut="d"))
    params, before = init(jax.random.key(0))

    @functools.partial(jax.grad, has_aux=True)
    def derivative(params):
        logits, stats = apply(params, before, jnp.ones((0, 8, 8, 2)), train=True)
        chex.assert_shape(logits, (0, 5))
        return logits.sum(), stats

    gradient, after = derivative(params)
    chex.assert_trees_all_equal(after, before)
    chex.assert_trees_all_equal(gradient, jax.tree.map(jnp.zeros_like, params))


@pytest.mark.parametrize("shape", [(1, 0, 8, 2), (1, 8, 0, 2)])
def test_images_without_pixels_are_refused(shape):
    with pytest.raises(ValueError, match=r"have no pixels; height and width must be at least 1"):
        jax.eval_shape(create_model(TINY), jnp.ones(shape))


def _call_functional(init, apply, x):
    return apply(*init(jax.random.key(0)), x, train=True)


CALLS = {
    "network": lambda x: create_model(TINY)(x),
    "features": lambda x: create_model(TINY).features(x),
    "backbone": lambda x: create_model(TINY, features_only=True)(x),
    "functional": lambda x: _call_functional(*functional(ResNet, TINY), x),
    "linen": lambda x: linen.to_linen(ResNet, TINY).init(jax.random.key(0), x, train=False),
}


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, jnp.bool, jnp.complex64])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_images_of_integers_are_refused_while_tracing(call, dtype):
    message = (
        f"expected normalised images in floating point, got {jnp.dtype(dtype)}; "
        f"resnet_jax.preprocessing turns pixels into a network's input."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        jax.eval_shape(call, jax.ShapeDtypeStruct((1, 8, 8, 2), dtype))


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_elementwise_work_is_not_repeated(block):
    """Each block more adds the same work; repeated fusion would add more each time."""
    counts = [_count_maxima(block, depth) for depth in (1, 2, 3)]
    steps = {after - before for before, after in itertools.pairwise(counts)}
    assert len(steps) == 1


def _count_maxima(block, depth):
    init, apply = functional(ResNet, vary(block=block, depths=(depth,), widths=(8,)))

    def loss(params, stats, x):
        return jnp.sum(apply(params, stats, x, train=True)[0])

    x = jax.ShapeDtypeStruct((2, 8, 8, 2), jnp.float32)
    variables = jax.eval_shape(init, jax.random.key(0))
    compiled = jax.jit(jax.grad(loss, (0, 2))).lower(*variables, x).compile()
    return compiled.as_text().count(" maximum(")

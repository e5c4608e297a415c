import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax.blocks import (
    BasicBlock,
    Bottleneck,
    PadShortcut,
    Parts,
    PlainBlock,
    PooledProjection,
    PreactivationBasicBlock,
    PreactivationBottleneck,
    Projection,
    ResidualBlock,
    identity,
    shortcut_a,
    shortcut_b,
    shortcut_c,
    shortcut_d,
)

BLOCKS = [ResidualBlock, BasicBlock, PlainBlock, Bottleneck]
WITH_PARTS = [BasicBlock, PlainBlock, Bottleneck]
WITH_SHORTCUTS = [BasicBlock, Bottleneck, PreactivationBasicBlock, PreactivationBottleneck]


def always(layer):
    """Builds the same layer whatever is asked for."""
    return lambda *_, **settings: layer


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(0), (2, 8, 8, 16))


def outline(x, block, *sizes, **settings):
    """Shapes and dtypes in training, in evaluation, and of parameters and statistics."""

    def run(x):
        module = block(*sizes, **settings, rngs=nnx.Rngs(0))
        trained = module(x)
        module.eval()
        kinds = (nnx.Param, nnx.BatchStat)
        return trained, module(x), *(nnx.to_pure_dict(nnx.state(module, kind)) for kind in kinds)

    return jax.eval_shape(run, x)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("block", BLOCKS)
def test_shape_and_dtype(block, stride, dtype, x):
    trained, evaluated, params, stats = outline(x, block, 16, 32, stride=stride, dtype=dtype)
    for y in (trained, evaluated):
        chex.assert_shape(y, (2, 8 // stride, 8 // stride, 32))
        chex.assert_type(y, dtype)
    chex.assert_type(jax.tree.leaves((params, stats)), jnp.float32)


@pytest.mark.parametrize("block", BLOCKS)
def test_param_dtype(block, x):
    _, _, params, stats = outline(x, block, 16, 32, param_dtype=jnp.bfloat16)
    chex.assert_type(jax.tree.leaves(params), jnp.bfloat16)
    chex.assert_type(jax.tree.leaves(stats), jnp.float32)


@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_are_finite_and_reach_everything(block, x):
    module = block(16, 32, stride=2, rngs=nnx.Rngs(0))
    weights = jax.random.normal(jax.random.key(1), (2, 4, 4, 32))
    gradients = nnx.jit(nnx.grad(lambda module: jnp.sum(module(x) * weights)))(module)
    chex.assert_tree_all_finite(gradients)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_zero_last_scale_passes_the_shortcut_through(block, x):
    x = nnx.relu(x)  # what a block gets inside a network
    module = block(16, 16, parts=Parts(zero_init_last=True), rngs=nnx.Rngs(0))
    chex.assert_trees_all_equal(module(x), x)


@pytest.mark.parametrize(
    ("shortcut", "same", "changed"),
    [
        (shortcut_a, identity, PadShortcut),
        (shortcut_b, identity, Projection),
        (shortcut_c, Projection, Projection),
        (shortcut_d, identity, PooledProjection),
    ],
)
@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_shortcuts(block, shortcut, same, changed, x):
    build = functools.partial(block, 16, parts=Parts(shortcut=shortcut), rngs=nnx.Rngs(0))
    for module, kind in ((build(16), same), (build(32), changed), (build(16, stride=2), changed)):
        assert module.shortcut is kind or type(module.shortcut) is kind
        branch, whole = nnx.eval_shape(lambda module, x: (module.shortcut(x), module(x)), module, x)
        assert branch.shape == whole.shape


def test_option_a_subsamples_and_pads_with_zeros(x):
    y = PadShortcut(16, 21, stride=2)(x)
    chex.assert_trees_all_equal(y[..., 2:18], x[:, ::2, ::2])
    chex.assert_trees_all_equal(y[..., :2], jnp.zeros((2, 4, 4, 2)))
    chex.assert_trees_all_equal(y[..., 18:], jnp.zeros((2, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"cannot go from 16 features to 8; use shortcut B"):
        PadShortcut(16, 8, stride=1)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        # A window that hangs over the edge averages the pixels that it has,
        ({"stride": 2}, [[3, 4.5], [7.5, 9]]),
        # and where a dilation has taken the place of the stride, zeros in the place of the others.
        ({"dilation": 2}, [[3, 4, 2.25], [6, 7, 3.75], [3.75, 4.25, 2.25]]),
    ],
)
@pytest.mark.parametrize("block", WITH_SHORTCUTS)
def test_option_d_pools(block, settings, expected):
    parts = Parts(conv=always(identity), norm=always(identity), shortcut=shortcut_d)
    shortcut = block(4, 8, parts=parts, rngs=nnx.Rngs(0), **settings).shortcut
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    chex.assert_trees_all_close(shortcut(x)[0, :, :, 0], jnp.array(expected))


def test_plain_block_has_the_layers_of_a_basic_block_and_no_shortcut():
    plain, basic = PlainBlock(16, 16, rngs=nnx.Rngs(0)), BasicBlock(16, 16, rngs=nnx.Rngs(0))
    shapes = [nnx.to_pure_dict(nnx.state(block)) for block in (plain, basic)]
    chex.assert_trees_all_equal_shapes(*shapes)
    assert not hasattr(plain, "shortcut")


@pytest.mark.parametrize(("stride_first", "strides"), [(False, (1, 2)), (True, (2, 1))])
def test_bottleneck_strides(stride_first, strides):
    block = Bottleneck(16, 32, stride=2, stride_first=stride_first, rngs=nnx.Rngs(0))
    assert (block.conv1.strides[0], block.conv2.strides[0]) == strides


def test_bottleneck_widths_and_groups(x):
    block = Bottleneck(16, 32, mid_features=24, groups=4, rngs=nnx.Rngs(0))
    assert block.conv2.kernel.shape == (3, 3, 6, 24)
    chex.assert_shape(nnx.eval_shape(lambda block, x: block(x), block, x), (2, 8, 8, 32))


def test_stochastic_depth_skips_examples_whole(x):
    x = nnx.relu(jnp.tile(x[:1], (64, 1, 1, 1)))
    block = BasicBlock(16, 16, drop_path_rate=0.5, rngs=nnx.Rngs(0))
    y = np.asarray(block(x, rngs=nnx.Rngs(dropout=0)))
    skipped = (y == np.asarray(x)).all((1, 2, 3))
    assert 0 < skipped.sum() < 64
    # Those that were not skipped are all alike, since their inputs are.
    chex.assert_trees_all_close(y[~skipped], np.broadcast_to(y[~skipped][:1], y[~skipped].shape))


@pytest.mark.parametrize("block", WITH_PARTS)
def test_activation_is_a_part(block, x):
    module = block(16, 16, parts=Parts(act=lambda x: x), rngs=nnx.Rngs(0))
    assert (module(x) < 0).any()


@pytest.mark.parametrize("block", WITH_SHORTCUTS)
def test_attention_has_the_last_word_on_a_branch(block, x):
    x = nnx.relu(x)
    zeros, ones = always(jnp.zeros_like), always(jnp.ones_like)
    module = block(16, 16, parts=Parts(conv=zeros, norm=zeros, attention=ones), rngs=nnx.Rngs(0))
    chex.assert_trees_all_equal(module(x), x + 1)


@pytest.mark.parametrize("block", [*WITH_SHORTCUTS, PlainBlock])
def test_a_block_of_bound_parts_needs_no_other_settings(block):
    settings = {"dtype": jnp.float32, "param_dtype": jnp.bfloat16}
    alone = block(16, 32, stride=2, **settings, rngs=nnx.Rngs(0))
    bound = block(16, 32, stride=2, parts=Parts().bind(**settings, rngs=nnx.Rngs(0)))
    assert nnx.graphdef(alone) == nnx.graphdef(bound)
    chex.assert_trees_all_equal(
        nnx.to_pure_dict(nnx.state(alone)), nnx.to_pure_dict(nnx.state(bound))
    )


@pytest.mark.parametrize("block", [*WITH_SHORTCUTS, PlainBlock])
def test_a_misspelt_argument_is_refused(block):
    with pytest.raises(TypeError, match="unexpected keyword argument 'strides'"):
        block(16, 32, strides=2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match="rngs"):
        block(16, 32)

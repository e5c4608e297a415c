import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_jax import ConfigError, ResNetConfig, create_model, model_config
from resnet_jax.interop.pure import functional
from resnet_jax.models import Backbone, ResNet

TINY = {"depths": (1, 1, 2), "widths": (8, 16, 24), "stem_features": 8, "num_classes": 5}
CONFIGS = {
    "post": ResNetConfig(**TINY),
    "preactivation": ResNetConfig(**TINY, block="preactivation_basic", stem="deep", shortcut="d"),
    "bottleneck": ResNetConfig(**TINY, block="bottleneck", stem="tiered", shortcut="b3x3"),
}
IMAGES = jnp.linspace(-1, 1, 2 * 32 * 32 * 3).reshape(2, 32, 32, 3)


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.mark.parametrize(
    ("out_indices", "taken"),
    [(None, [0, 1, 2, 3]), ((1, -1), [1, 3]), ((-2, 0), [0, 2]), ((0,), [0])],
)
def test_features_only(config, out_indices, taken):
    whole = create_model(config)
    backbone = create_model(config, features_only=True, out_indices=out_indices)
    assert backbone.feature_info == tuple(whole.feature_info[index] for index in taken)
    assert len(backbone.stages) == taken[-1]
    backbone.eval()
    shapes = jax.eval_shape(backbone, IMAGES)
    for shape, (features, stride) in zip(shapes, backbone.feature_info, strict=True):
        chex.assert_shape(shape, (2, 32 // stride, 32 // stride, features))
    assert not hasattr(backbone, "head")


def test_a_backbone_shares_its_network(config):
    network = create_model(config)
    network.eval()
    backbone = Backbone(network, out_indices=(1, 3))
    maps = nnx.jit(lambda network: network.features(IMAGES))(network)
    wanted = nnx.jit(lambda backbone: backbone(IMAGES))(backbone)
    chex.assert_trees_all_equal(wanted, [maps[1], maps[3]])
    assert backbone.stem is network.stem


@pytest.mark.parametrize(
    ("out_indices", "message"),
    [((4,), "there is no map 4; the network has 4"), ((-5,), "no map -5"), ((), "asks for no map")],
)
def test_wrong_indices(out_indices, message):
    with pytest.raises(ConfigError, match=message):
        create_model(CONFIGS["post"], features_only=True, out_indices=out_indices)


@pytest.mark.parametrize(
    "out_indices",
    [[1, -1], range(1, 4, 2), iter([3, 1]), np.array([3, 1]), np.int64([1, -1]), jnp.array([1, 3])],
)
def test_any_sequence_of_whole_numbers(out_indices):
    backbone = create_model(CONFIGS["post"], features_only=True, out_indices=out_indices)
    assert backbone.out_indices == (1, 3)
    assert [type(index) for index in backbone.out_indices] == [int, int]


@pytest.mark.parametrize(
    "out_indices",
    [
        3,
        np.int64(3),
        "34",
        [1.0],
        np.ones(2),
        [[1, 2]],
        True,
        (True, False),
        np.array([True]),
        [None],
    ],
)
def test_other_indices_are_refused(out_indices):
    with pytest.raises(ConfigError) as error:
        create_model(CONFIGS["post"], features_only=True, out_indices=out_indices)
    assert str(error.value) == (
        f"out_indices={' '.join(repr(out_indices).split())} is not a sequence of whole numbers; "
        f"(1, -1), for instance, asks for the maps after the first and after the last stage."
    )


@pytest.mark.parametrize("out_indices", [(1,), 1])
def test_indices_need_features_only(out_indices):
    with pytest.raises(ConfigError, match="needs features_only=True"):
        create_model(CONFIGS["post"], out_indices=out_indices)


@pytest.mark.parametrize("output_stride", [4, 8, 16])
def test_output_stride(config, output_stride):
    model = create_model(config, output_stride=output_stride)
    model.eval()
    shapes = jax.eval_shape(model.features, IMAGES)
    for shape, (features, stride) in zip(shapes, model.feature_info, strict=True):
        chex.assert_shape(shape, (2, 32 // stride, 32 // stride, features))
    assert model.feature_info[-1].stride == output_stride
    # Dilation moves no parameter: weights of one fit the other.
    chex.assert_trees_all_equal_shapes(
        nnx.state(model, nnx.Param), nnx.state(create_model(config), nnx.Param)
    )


def test_the_head_continues_the_features(config):
    model = create_model(config)
    model.eval()
    last = model.features(IMAGES)[-1]
    chex.assert_trees_all_equal(model.forward_head(last), model(IMAGES))
    pooled = model.forward_head(last, pre_logits=True)
    chex.assert_shape(pooled, (2, 24))
    chex.assert_trees_all_equal(model.head(pooled), model(IMAGES))


def test_reset_classifier(config):
    model = create_model(config)
    model.eval()
    pooled = model.forward_head(model.features(IMAGES)[-1], pre_logits=True)
    model.reset_classifier(7, rngs=nnx.Rngs(1))
    chex.assert_shape(model(IMAGES), (2, 7))
    assert model.config.num_classes == 7
    model.reset_classifier(0, rngs=nnx.Rngs(1))
    chex.assert_trees_all_equal(model(IMAGES), pooled)
    chex.assert_trees_all_equal(
        nnx.state(model), nnx.state(nnx.merge(*nnx.split(model)))
    )  # it can still be taken apart
    model.reset_classifier(2, rngs=nnx.Rngs(1))
    chex.assert_shape(model(IMAGES), (2, 2))
    with pytest.raises(ConfigError, match="num_classes=-1"):
        model.reset_classifier(-1, rngs=nnx.Rngs(1))


def test_reset_classifier_gives_a_network_without_one_a_classifier(config):
    model = create_model(config, num_classes=0)
    model.reset_classifier(5, rngs=nnx.Rngs(1))
    chex.assert_shape(model.forward_head(jnp.ones((2, 1, 1, 24))), (2, 5))
    assert nnx.graphdef(model) == nnx.graphdef(create_model(config))
    model.reset_classifier(0, rngs=nnx.Rngs(1))
    assert nnx.graphdef(model) == nnx.graphdef(create_model(config, num_classes=0))


@pytest.mark.parametrize(
    ("pool", "classes", "shape"),
    [
        ("max", 5, (2, 5)),
        ("catavgmax", 5, (2, 5)),
        ("catavgmax", 0, (2, 48)),
        ("", 0, (2, 1, 1, 24)),
    ],
)
def test_global_pool(config, pool, classes, shape):
    model = create_model(config, global_pool=pool, num_classes=classes)
    reset = create_model(config)
    reset.reset_classifier(classes, global_pool=pool, rngs=nnx.Rngs(1))
    assert nnx.graphdef(reset) == nnx.graphdef(model)
    chex.assert_shape(model.forward_head(jnp.ones((2, 1, 1, 24))), shape)
    assert (model.num_features, model.num_classes) == (24, classes)
    assert create_model(config, features_only=True, out_indices=(1,)).num_features == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"global_pool": "mean"}, "global_pool='mean' is unknown; choose one of avg, .*, ''\\."),
        ({"global_pool": ""}, "global_pool='' leaves nothing for a classifier of num_classes=5"),
    ],
)
def test_wrong_global_pools(settings, message):
    with pytest.raises(ConfigError, match=message):
        create_model(CONFIGS["post"], **settings)


def test_remat_of_a_network_that_is_built(config):
    model, other = create_model(config), create_model(config, remat=True)
    assert "remat" not in str(jax.make_jaxpr(lambda x: nnx.clone(model)(x))(IMAGES))
    model.set_remat()
    assert nnx.graphdef(model) == nnx.graphdef(other)
    assert "remat" in str(jax.make_jaxpr(lambda x: nnx.clone(model)(x))(IMAGES))
    model.set_remat(False)
    assert nnx.graphdef(model) == nnx.graphdef(create_model(config))


@pytest.mark.parametrize(
    ("indices", "taken"),
    [(None, [0, 1, 2, 3]), (2, [2, 3]), (4, [0, 1, 2, 3]), ([1], [1]), (np.array([-1, 0]), [0, 3])],
)
def test_forward_intermediates(config, indices, taken):
    model = create_model(config)
    model.eval()
    maps = model.features(IMAGES)
    last, chosen = model.forward_intermediates(IMAGES, indices)
    chex.assert_trees_all_equal(last, maps[-1])
    chex.assert_trees_all_equal(chosen, [maps[index] for index in taken])
    last, early = model.forward_intermediates(IMAGES, indices, stop_early=True)
    chex.assert_trees_all_equal((last, early), (maps[taken[-1]], chosen))
    only = model.forward_intermediates(IMAGES, indices, norm=True, intermediates_only=True)
    if taken[-1] == 3:
        chosen = [*chosen[:-1], model.act(model.norm(chosen[-1]))]
    chex.assert_trees_all_equal(only, chosen)


@pytest.mark.parametrize("indices", [0, 5, [4], "1"])
def test_wrong_intermediates(indices):
    with pytest.raises(ConfigError, match=r"^indices="):
        create_model(CONFIGS["post"]).forward_intermediates(IMAGES, indices)


def loss_and_gradients(config):
    model = create_model(config)
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)

    @jax.jit
    def run(params, stats):
        def loss(params):
            model = nnx.merge(graphdef, params, stats, copy=True)
            y = model(IMAGES, rngs=nnx.Rngs(dropout=1))
            return jnp.mean(y**2), nnx.state(model, nnx.BatchStat)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return run(params, stats)


def test_remat_changes_nothing_but_memory():
    settings = {"drop_path_rate": 0.3, "dropout_rate": 0.1}
    plain, remat = (
        loss_and_gradients(model_config(CONFIGS["post"], remat=remat, **settings))
        for remat in (False, True)
    )
    chex.assert_trees_all_close(plain, remat, rtol=1e-4, atol=1e-6)


def test_with_remat_a_block_keeps_its_input_and_nothing_else():
    def kept(depth):
        """Counts the maps that are kept for the way back."""
        config = ResNetConfig(depths=(depth,), widths=(8,), stem="cifar", stem_features=8)
        init, apply = functional(ResNet, model_config(config, remat=True))

        def way_back(*variables):
            return jax.vjp(lambda *at: apply(*at, IMAGES, train=True)[0], *variables)[1]

        back = jax.eval_shape(way_back, *jax.eval_shape(init, jax.random.key(0)))
        return [leaf.shape for leaf in jax.tree.leaves(back)].count((2, 32, 32, 8))

    assert kept(depth=2) == kept(depth=1) + 1


@pytest.mark.parametrize("block", ["preactivation_basic", "preactivation_bottleneck"])
def test_zero_init_last_starts_preactivation_blocks_as_their_shortcut(block):
    config = ResNetConfig(**TINY, block=block, zero_init_last=True)
    model = create_model(config)
    block = model.stages[2][1]
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 24))
    chex.assert_trees_all_equal(block(x), x)

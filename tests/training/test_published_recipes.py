"""The recipes against the numbers of their sources; tests/parity holds them against their code."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax.data.examples import Record
from resnet_jax.data.host_changes import train_transform
from resnet_jax.data.pipeline import steps_per_epoch
from resnet_jax.errors import ConfigError
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.resizing import size_at
from resnet_jax.training.schedules import make_schedule
from resnet_jax.training.state import build_model, initial_state, make_graphs
from resnet_jax.training.steps import make_train_step

IMAGENET, CIFAR, FLOWERS = 1_281_167, 50_000, 1_020

# Training images, steps of the run, and the learning rate at five of them.
RUNS = {
    # He et al. 2015, section 4.2.
    "cifar10_he2015": (
        CIFAR,
        64_000,
        {0: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 1e-3, 63_999: 1e-3},
    ),
    "cifar10_he2015:resnet20,select": (
        45_000,
        64_000,
        {0: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 1e-3, 63_999: 1e-3},
    ),
    "cifar10_he2015:resnet110": (
        CIFAR,
        64_000,
        {0: 0.01, 399: 0.01, 400: 0.1, 32_000: 0.01, 48_000: 1e-3},
    ),
    "cifar10_fast": (CIFAR, 2910, {0: 0, 364: 0.2, 728: 0.4, 1819: 0.2, 2910: 0}),
    # train.py: --lr 0.1 --lr-step-size 30 --lr-gamma 0.1, after 30 and 60 of 90 epochs.
    "imagenet_resnet50": (
        IMAGENET,
        450_360,
        {0: 0.1, 150_119: 0.1, 150_120: 0.01, 300_240: 1e-3, 450_359: 1e-3},
    ),
    # timm drops what fills no batch: 625 steps an epoch. Its cosine from 1e-4 to 1e-6 at the start
    # of the epochs 0, 2 and 5, and at a half and three quarters of the run.
    "imagenet_rsb:a1": (
        IMAGENET,
        375_000,
        {0: 1e-4, 1250: 2.06e-3, 3125: 4.99914348e-3, 187_500: 2.5005e-3, 281_250: 7.330866e-4},
    ),
    "imagenet_rsb:a2": (
        IMAGENET,
        187_500,
        {0: 1e-4, 1250: 2.06e-3, 3125: 4.99657452e-3, 93_750: 2.5005e-3, 140_625: 7.330866e-4},
    ),
    "imagenet_rsb:a3": (
        IMAGENET,
        62_500,
        {0: 1e-4, 1250: 3.26e-3, 3125: 7.95075952e-3, 31_250: 4.0005e-3, 46_875: 1.17242643e-3},
    ),
    # PyTorch's LinearLR and CosineAnnealingLR at the start of the epochs 0, 2, 5, 300 and 450.
    "imagenet_torchvision_v2": (
        IMAGENET,
        750_600,
        {0: 0.005, 2502: 0.203, 6255: 0.5, 375_300: 0.2532998965, 562_950: 0.0743938699},
    ),
    # ffcv's get_cyclic_lr at the epochs 0, 1, 2, 9 and 16.
    "imagenet_fast": (IMAGENET, 4992, {0: 1.7e-4, 312: 0.850085, 624: 1.7, 2808: 0.85, 4992: 0}),
    "finetune": (FLOWERS, 450, {0: 0, 5: 0.02 / 3, 15: 0.02, 232: 0.01003611, 450: 0}),
}

CHAINS = {
    "cifar10_he2015": ["AddDecayedWeights", "Trace", "ScaleBySchedule"],
    "cifar10_fast": ["Masked", "Trace", "ScaleBySchedule"],
    "imagenet_resnet50": ["AddDecayedWeights", "Trace", "ScaleBySchedule"],
    "imagenet_rsb:a1": ["Clip", "ScaleByAdam", "Masked", "Masked", "ScaleBySchedule"],
    "imagenet_rsb:a2": ["Clip", "ScaleByAdam", "Masked", "Masked", "ScaleBySchedule"],
    "imagenet_rsb:a3": ["Clip", "ScaleByAdam", "Masked", "Masked", "ScaleBySchedule"],
    "imagenet_torchvision_v2": ["Masked", "Trace", "ScaleBySchedule"],
    "imagenet_fast": ["Masked", "Trace", "ScaleBySchedule"],
    "finetune": ["Clip", "Masked", "Trace", "StageRates", "ScaleBySchedule"],
}
MEMORYLESS = ("Clip", "AddDecayedWeights", "StageRates")
RATE = 0.1


def load(recipe):
    name, colon, argument = recipe.partition(":")
    return load_recipe(f"configs/{name}.py{colon}{argument}")


def optimizer_of(config):
    schedule = optax.constant_schedule(RATE)
    return make_optimizer(config.optimizer, schedule, finetune=config.finetune)


@functools.cache
def small_params(config):
    """The parameters of a recipe's network by name and rank, each with a single value of 1."""
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    shapes = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree.map(lambda shape: jnp.ones((1,) * shape.ndim), shapes)


@pytest.mark.parametrize("recipe", RUNS)
def test_steps_and_learning_rates_are_those_of_the_source(recipe):
    examples, steps, rates = RUNS[recipe]
    config = load(recipe)
    per_epoch = steps_per_epoch(examples, config.batch_size)
    assert (config.steps or config.epochs * per_epoch) == steps
    peak = config.optimizer.learning_rate
    rate = make_schedule(config.schedule, peak=peak, total_steps=steps, steps_per_epoch=per_epoch)
    assert len(rates) == 5
    for step, expected in rates.items():
        # float32: a relative error of 1e-6 or so, and the cosine ends in a difference from 1.
        np.testing.assert_allclose(rate(step), expected, rtol=1e-5, atol=1e-7 * peak)


@pytest.mark.parametrize("recipe", CHAINS)
def test_the_chain_reads_as_the_source_does(recipe):
    config = load(recipe)
    state = optimizer_of(config).init(small_params(config.model))
    if config.finetune:
        state = state.inner_states["moving"].inner_state
    names = [type(part).__name__.removesuffix("State") for part in state]
    assert names == ["Empty" if name in MEMORYLESS else name for name in CHAINS[recipe]]


def _decays(where, names):
    return {
        "all": True,
        "not_norms": not any("norm" in name for name in names),
        "matrices": names[-1] == "kernel",
    }[where]


def _stage_rate(names):
    return 0.7 ** (4 - int(names[1])) if names[0] == "stages" else 1.0


@pytest.mark.parametrize("recipe", CHAINS)
def test_without_a_gradient_what_decays_moves_and_nothing_else(recipe):
    config = load(recipe)
    params, optimizer = small_params(config.model), optimizer_of(config)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    rule = config.optimizer
    step = RATE * rule.weight_decay * (1 + rule.momentum * rule.nesterov)
    if rule.name == "lamb":
        step = RATE  # the trust ratio makes a step as long as the weight
    leaves = jax.tree_util.tree_leaves_with_path(updates)
    assert len(leaves) == {"resnet20": 59, "wide_resnet16_8": 44}.get(config.model.name, 161)
    for path, update in leaves:
        names = [str(entry.key) for entry in path]
        expected = -step if _decays(rule.decay_on, names) else 0.0
        if config.finetune:
            frozen = names[0] == "stem" or names[:2] == ["stages", "0"]
            expected *= 0 if frozen else _stage_rate(names)
        np.testing.assert_allclose(update, expected, rtol=1e-5, err_msg=".".join(names))


def test_ffcvs_images_grow_with_the_length_of_the_run():
    # start_ramp and end_ramp of rn50_configs.
    ramps = {16: (11, 13), 24: (17, 20), 32: (23, 27), 40: (29, 34), 56: (41, 48), 88: (65, 76)}
    for epochs, ramp in ramps.items():
        resize = load(f"imagenet_fast:{epochs}").resize
        np.testing.assert_allclose((resize.begin * epochs, resize.end * epochs), ramp)
    sizes = [
        size_at(load("imagenet_fast").resize, 312 * epoch, total_steps=16 * 312, full=192)
        for epoch in range(16)
    ]
    assert sizes == [160] * 12 + [192] * 4


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("cifar10_he2015:resnet20,selct", "after the comma comes 'select'"),
        ("imagenet_rsb:a4", "a1, a2 or a3"),
        ("imagenet_fast:2", "the rate rises for 2 epochs; give 3 or more"),
    ],
)
def test_an_argument_that_cannot_be_used_is_explained(recipe, message):
    with pytest.raises(ConfigError, match=message):
        load(recipe)


def test_selection_never_sees_the_test_split():
    config = load("cifar10_he2015:resnet20,select").data
    assert (config.train_split, config.validation_split) == ("train[:45000]", "train[45000:]")
    assert load("cifar10_he2015").data.validation_split is None


def synthetic_batch(config, size):
    """Eight random photographs, as the recipe's host changes leave them."""
    rng = np.random.default_rng(0)
    photographs = rng.integers(0, 256, (8, 40, 56, 3), dtype=np.uint8)
    data = dataclasses.replace(config.data, image_size=size)
    change = train_transform(data, config.augment, channels=3)
    image = np.stack([change(Record(photograph, 0), rng) for photograph in photographs])
    return {"image": image, "label": np.arange(8, dtype=np.int32), "mask": np.ones(8, bool)}


# a2 is a1's computation with other numbers.
STEPS = [
    pytest.param(recipe, marks=pytest.mark.slow) if recipe == "imagenet_rsb:a2" else recipe
    for recipe in CHAINS
]


@pytest.mark.parametrize("recipe", STEPS)
def test_a_step_on_synthetic_data_moves_the_parameters(recipe, copied, vary):
    config = load(recipe)
    # One of two groups, as the recipe's batch has several.
    groups = 4 if config.model.norm_group_size else None
    config = vary(config, batch_size=8, model__name="tiny", model__norm_group_size=groups)
    if config.augment.mix_group_size:
        config = vary(config, augment__mix_group_size=4)
    graphs = make_graphs(config.model, finetune=config.finetune)
    optimizer = optimizer_of(config)
    step = jax.jit(make_train_step(graphs, optimizer, config))
    state = initial_state(config, optimizer)
    before = copied(state)
    after, sums = step(state, synthetic_batch(config, 16))
    chex.assert_tree_all_finite((after.params, after.batch_stats, sums))
    assert (int(after.step), int(after.skipped)) == (1, 0)
    head = (before.params["head"]["kernel"] != copied(after).params["head"]["kernel"]).mean()
    assert head > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RUNS)
def test_the_whole_network_of_a_recipe_takes_its_step_in_shapes(recipe):
    config = load(recipe)
    optimizer = optimizer_of(config)
    step = make_train_step(make_graphs(config.model, finetune=config.finetune), optimizer, config)
    size = config.data.image_size or 32
    shapes = {
        "image": jax.ShapeDtypeStruct((config.batch_size, size, size, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((config.batch_size,), np.int32),
        "mask": jax.ShapeDtypeStruct((config.batch_size,), bool),
    }
    state = jax.eval_shape(lambda: initial_state(config, optimizer))
    after, sums = jax.eval_shape(step, state, shapes)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert sums["loss"].shape == ()

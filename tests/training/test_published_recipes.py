"""The recipes against the numbers of their sources."""

import dataclasses

import chex
import jax
import numpy as np
import optax
import pytest

from resnet_jax.data.pipeline import steps_per_epoch
from resnet_jax.errors import ConfigError
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.parameters import decays_matrices, decays_not_norms
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.schedules import make_schedule
from resnet_jax.training.state import build_model, initial_state, make_graphs
from resnet_jax.training.steps import make_train_step

IMAGENET, CIFAR, FLOWERS = 1_281_167, 50_000, 1_020

# Training images, steps of the run, and the learning rate at five of them.
NUMBERS = {
    "cifar10_he2015": (CIFAR, 64_000, {0: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 1e-3, -1: 1e-3}),
    "cifar10_he2015:resnet20,select": (
        45_000,
        64_000,
        {0: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 1e-3, -1: 1e-3},
    ),
    "cifar10_he2015:resnet110": (
        CIFAR,
        64_000,
        {0: 0.01, 399: 0.01, 400: 0.1, 32_000: 0.01, 48_000: 1e-3},
    ),
    "cifar10_fast": (CIFAR, 30 * 97, {0: 0, 364: 0.2, 728: 0.4, 1819: 0.2, 2910: 0}),
    "imagenet_resnet50": (
        IMAGENET,
        90 * 5004,
        {0: 0.1, 30 * 5004 - 1: 0.1, 30 * 5004: 0.01, 60 * 5004: 1e-3, -1: 1e-3},
    ),
    # The cosine of the whole run: at half of it half of the rate.
    "imagenet_rsb:a1": (
        IMAGENET,
        600 * 625,
        {0: 1e-4, 3125 // 2: 2.55e-3, 3125: 4.999143e-3, 187_500: 2.5e-3, 375_000: 0},
    ),
    "imagenet_rsb:a2": (
        IMAGENET,
        300 * 625,
        {0: 1e-4, 3125: 4.996574e-3, 93_750: 2.5e-3, 125_000: 1.25e-3, 187_500: 0},
    ),
    "imagenet_rsb:a3": (
        IMAGENET,
        100 * 625,
        {0: 1.6e-4, 3125: 7.950753e-3, 31_250: 4e-3, 46_875: 1.171573e-3, 62_500: 0},
    ),
    "imagenet_torchvision_v2": (
        IMAGENET,
        600 * 1251,
        {0: 0.005, 6255: 0.5, 6255 + 297.5 * 1251: 0.25, 375_000: 0.2532, 750_600: 0},
    ),
    "imagenet_fast": (IMAGENET, 16 * 1251, {0: 0, 1251: 1, 2502: 2, 9 * 1251: 1, 20_016: 0}),
    "finetune": (FLOWERS, 30 * 15, {0: 0, 15: 0.02, 232: 0.0100, 341: 0.002942, 450: 0}),
}

CHAINS = {
    "cifar10_he2015": ["AddDecayedWeights", "Trace", "ScaleBySchedule"],
    "cifar10_fast": ["Masked", "Trace", "ScaleBySchedule"],
    "imagenet_resnet50": ["AddDecayedWeights", "Trace", "ScaleBySchedule"],
    "imagenet_rsb:a1": ["Clip", "ScaleByAdam", "Masked", "Masked", "ScaleBySchedule"],
    "imagenet_torchvision_v2": ["Masked", "Trace", "ScaleBySchedule"],
    "imagenet_fast": ["Masked", "Trace", "ScaleBySchedule"],
}


def load(recipe):
    name, colon, argument = recipe.partition(":")
    return load_recipe(f"configs/{name}.py{colon}{argument}")


def schedule_of(config, examples):
    per_epoch = steps_per_epoch(examples, config.batch_size)
    total = config.steps or config.epochs * per_epoch
    rate = make_schedule(
        config.schedule,
        peak=config.optimizer.learning_rate,
        total_steps=total,
        steps_per_epoch=per_epoch,
    )
    return rate, total


@pytest.mark.parametrize("recipe", NUMBERS)
def test_steps_and_learning_rates_are_those_of_the_source(recipe):
    examples, steps, rates = NUMBERS[recipe]
    schedule, total = schedule_of(load(recipe), examples)
    assert total == steps
    for step, rate in rates.items():
        at = step if step >= 0 else total + step
        np.testing.assert_allclose(schedule(at), rate, rtol=5e-3, atol=1e-9, err_msg=f"step {at}")


FIELDS = {
    "cifar10_he2015": ("sgd", 0.9, 1e-4, "all", 128, "cross_entropy", 0.0),
    "cifar10_fast": ("sgd", 0.9, 5e-4, "matrices", 512, "cross_entropy", 0.1),
    "imagenet_resnet50": ("sgd", 0.9, 1e-4, "all", 256, "cross_entropy", 0.0),
    "imagenet_rsb:a1": ("lamb", 0.9, 0.01, "matrices", 2048, "bce", 0.1),
    "imagenet_rsb:a2": ("lamb", 0.9, 0.02, "matrices", 2048, "bce", 0.0),
    "imagenet_rsb:a3": ("lamb", 0.9, 0.02, "matrices", 2048, "bce", 0.0),
    "imagenet_torchvision_v2": ("sgd", 0.9, 2e-5, "not_norms", 1024, "cross_entropy", 0.1),
    "imagenet_fast": ("sgd", 0.9, 5e-5, "not_norms", 1024, "cross_entropy", 0.1),
    "finetune": ("sgd", 0.9, 1e-4, "matrices", 64, "cross_entropy", 0.1),
}


@pytest.mark.parametrize("recipe", FIELDS)
def test_update_rule_batch_and_loss_are_those_of_the_source(recipe):
    config = load(recipe)
    rule = config.optimizer
    found = (rule.name, rule.momentum, rule.weight_decay, rule.decay_on)
    assert (*found, config.batch_size, config.loss, config.label_smoothing) == FIELDS[recipe]


CHANGES = {
    # policy, magnitude, mixup, CutMix, erasing, repeats, stochastic depth, train size, crop.
    "imagenet_rsb:a1": ("randaugment_increasing", 7, 0.2, 1.0, 0.0, 3, 0.05, 224, 0.95),
    "imagenet_rsb:a2": ("randaugment_increasing", 7, 0.1, 1.0, 0.0, 3, 0.05, 224, 0.95),
    "imagenet_rsb:a3": ("randaugment_increasing", 6, 0.1, 1.0, 0.0, 1, 0.0, 160, 0.95),
    "imagenet_torchvision_v2": ("trivialaugment", None, 0.2, 1.0, 0.1, 4, 0.0, 176, 224 / 232),
    "imagenet_resnet50": (None, None, 0.0, 0.0, 0.0, 1, 0.0, 224, 0.875),
}


@pytest.mark.parametrize("recipe", CHANGES)
def test_changes_of_the_images_are_those_of_the_source(recipe):
    config = load(recipe)
    augment, data = config.augment, config.data
    assert (
        augment.policy,
        augment.policy_magnitude,
        augment.mixup,
        augment.cutmix,
        augment.erase,
        data.repeats,
        config.model.drop_path_rate,
        data.image_size,
        data.crop_fraction,
    ) == CHANGES[recipe]
    assert augment.flip == 0.5


@pytest.mark.parametrize("recipe", CHAINS)
def test_the_chain_reads_as_the_source_does(recipe):
    config = load(recipe)
    optimizer = make_optimizer(
        config.optimizer, optax.constant_schedule(0.1), finetune=config.finetune
    )
    state = optimizer.init({"w": np.ones((2, 2), np.float32)})
    names = [type(part).__name__.removesuffix("State") for part in state]
    # Clipping and plain decay keep no memory.
    memoryless = {"Clip": "Empty", "AddDecayedWeights": "Empty"}
    assert names == [memoryless.get(name, name) for name in CHAINS[recipe]]


def test_masks_leave_out_what_the_sources_leave_out():
    config = load("imagenet_rsb:a1").model
    from flax import nnx

    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    # ResNet-50: 53 convolutions, as many norms of two vectors, and the classifier.
    assert sum(jax.tree.leaves(decays_matrices(params))) == 54
    assert sum(jax.tree.leaves(decays_not_norms(params))) == 55
    assert len(jax.tree.leaves(params)) == 53 * 3 + 2


def test_the_average_of_torchvisions_second_recipe_has_its_scaled_decay():
    ema = load("imagenet_torchvision_v2").ema
    assert ema.every == 32
    np.testing.assert_allclose(ema.decay, 1 - 2e-5 * 1024 * 32 / 600)


def test_selection_never_sees_the_test_split():
    config = load("cifar10_he2015:resnet20,select").data
    assert (config.train_split, config.validation_split) == ("train[:45000]", "train[45000:]")
    assert load("cifar10_he2015").data.validation_split is None
    with pytest.raises(ConfigError, match="after the comma comes 'select'"):
        load("cifar10_he2015:resnet20,selct")
    with pytest.raises(ConfigError, match="a1, a2 or a3"):
        load("imagenet_rsb:a4")


@pytest.mark.parametrize("recipe", NUMBERS)
def test_a_step_on_synthetic_data_moves_the_parameters(recipe, copied):
    config = load(recipe)
    model = dataclasses.replace(config.model, name="tiny", norm_group_size=None)
    config = dataclasses.replace(config, batch_size=8, model=model)
    optimizer = make_optimizer(
        config.optimizer, optax.constant_schedule(1e-2), finetune=config.finetune
    )
    step = jax.jit(make_train_step(make_graphs(model, finetune=config.finetune), optimizer, config))
    state = initial_state(config, optimizer)
    before = copied(state)
    image = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8)
    batch = {"image": image, "label": np.arange(8, dtype=np.int32), "mask": np.ones(8, bool)}
    after, sums = step(state, batch)
    chex.assert_tree_all_finite((after.params, after.batch_stats, sums))
    assert (int(after.step), int(after.skipped)) == (1, 0)
    head = (before.params["head"]["kernel"] != copied(after).params["head"]["kernel"]).mean()
    assert head > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("recipe", NUMBERS)
def test_the_whole_network_of_a_recipe_takes_its_step_in_shapes(recipe):
    config = load(recipe)
    optimizer = make_optimizer(
        config.optimizer, optax.constant_schedule(1e-2), finetune=config.finetune
    )
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

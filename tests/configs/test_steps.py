"""Training steps of the recipes whose computation or network is like no other's."""

import operator

import chex
import jax
import numpy as np
import optax
import pytest

from resnet_jax.data.images.record import Record
from resnet_jax.data.images.transforms import train_transform
from resnet_jax.training.recipe.overrides import parse_overrides
from resnet_jax.training.step.optimizers import make_optimizer
from resnet_jax.training.step.state import initial_state, make_graphs
from resnet_jax.training.step.steps import make_train_step
from tests.configs.recipes import recipe_for_its_data


def parts(config):
    """The step of a recipe at a constant rate, and what makes its first state."""
    rate = optax.constant_schedule(0.1)
    optimizer = make_optimizer(config.optimizer, rate, finetune=config.finetune)
    graphs = make_graphs(config.model, finetune=config.finetune)
    return make_train_step(graphs, optimizer, config), lambda: initial_state(config, optimizer)


def small(config):
    """A recipe with few and small images and a small network."""
    changes = {"batch_size": 8, "data.image_size": 16, "model.name": "resnet8"}
    for field in ("model.norm_group_size", "augment.mix_group_size"):
        if operator.attrgetter(field)(config):
            changes[field] = 4  # two groups, as the recipe's batch has several
    return parse_overrides(config, [f"--config.{name}={value}" for name, value in changes.items()])


def synthetic_batch(config):
    """Random photographs, as the recipe's host changes leave them."""
    rng = np.random.default_rng(0)
    photographs = rng.integers(0, 256, (8, 40, 56, 3), dtype=np.uint8)
    change = train_transform(config.data, config.augment, channels=3)
    image = np.stack([change(Record(photograph, 0), rng) for photograph in photographs])
    return {"image": image, "label": np.arange(8, dtype=np.int32), "mask": np.ones(8, bool)}


# Crops, flips and erasing; frozen stages; BCE on mixed targets, LAMB and stochastic depth;
# cross-entropy on mixed targets. The other recipes do a part of one of these.
@pytest.mark.parametrize(
    "recipe",
    ["cifar10_fast.py", "finetune.py", "imagenet_rsb.py:a1", "imagenet_torchvision_v2.py"],
)
def test_a_step_on_synthetic_data_moves_the_parameters(recipe):
    config = small(recipe_for_its_data(recipe))
    step, first_state = parts(config)
    before = first_state()
    after, sums = jax.jit(step)(before, synthetic_batch(config))
    chex.assert_tree_all_finite((after.params, after.batch_stats, sums))
    assert (int(after.step), int(after.skipped)) == (1, 0)
    moved = before.params["head"]["kernel"] != after.params["head"]["kernel"]
    assert moved.mean() > 0.5


# One recipe for each network.
@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        "cifar10_fast.py",
        "cifar10_he2015.py",
        "imagenet_fast.py",
        "imagenet_torchvision_v2.py",
    ],
)
def test_the_whole_network_of_a_recipe_takes_its_step_in_shapes(recipe):
    config = recipe_for_its_data(recipe)
    step, first_state = parts(config)
    size = config.data.image_size or 32
    batch = {
        "image": jax.ShapeDtypeStruct((config.batch_size, size, size, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((config.batch_size,), np.int32),
        "mask": jax.ShapeDtypeStruct((config.batch_size,), bool),
    }
    state = jax.eval_shape(first_state)
    after, sums = jax.eval_shape(step, state, batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert sums["loss"].shape == ()

"""Decay, updates, losses and stochastic depth of the recipes, by hand and against timm's code."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax.training.step.losses import make_loss
from resnet_jax.training.step.optimizers import decays_matrices, decays_not_norms, make_optimizer
from resnet_jax.training.step.state import build_model
from resnet_jax.weights.names import RESNET, torch_key
from tests.configs.recipes import recipe_for_its_data

pytestmark = pytest.mark.usefixtures("optimized")

RATE = 1e-3

# How far a weight of 1 moves without a gradient, in units of the rate: in the first update and in
# the second. SGD's velocity keeps 0.9 of the decay, and Nesterov's looks ahead by as much. LAMB's
# step is as long as the weight, whatever the decay. The other recipes repeat one of these.
MOVES = {
    "cifar10_fast.py": (5e-4 * 1.9, 5e-4 * 2.71),
    "cifar10_he2015.py": (1e-4, 1.9e-4),
    "finetune.py": (1e-4 * 1.9, 1e-4 * 2.71),
    "imagenet_rsb.py:a1": (1.0, 1 - RATE),
    "imagenet_torchvision_v2.py": (2e-5, 3.8e-5),
}


def model_of(recipe):
    config = recipe_for_its_data(recipe).model
    return nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))


@functools.cache
def small_params(recipe):
    """The parameters of a recipe's network by name and rank, each with a single value of 1."""
    shapes = nnx.to_pure_dict(nnx.state(model_of(recipe), nnx.Param))
    return jax.tree.map(lambda shape: np.ones((1,) * shape.ndim, np.float32), shapes)


def decays(where, names):
    return {
        "all": True,
        "not_norms": not any("norm" in name for name in names),
        "matrices": names[-1] == "kernel",
    }[where]


def share(names, finetune):
    """The share of the rate that a parameter learns at."""
    if finetune is None:
        return 1.0
    frozen = names[0] == "stem" or names[:2] == ["stages", "0"]
    stage = int(names[1]) if names[0] == "stages" else 4
    return 0.0 if frozen else 0.7 ** (4 - stage)


@pytest.mark.parametrize("recipe", MOVES)
def test_without_a_gradient_what_decays_moves_and_nothing_else(recipe):
    config, params = recipe_for_its_data(recipe), small_params(recipe)
    optimizer = make_optimizer(
        config.optimizer, optax.constant_schedule(RATE), finetune=config.finetune
    )
    zeros, state = jax.tree.map(jnp.zeros_like, params), optimizer.init(params)
    for move in MOVES[recipe]:
        updates, state = optimizer.update(zeros, state, params)
        params = optax.apply_updates(params, updates)
        for path, update in jax.tree_util.tree_leaves_with_path(updates):
            names = [str(entry.key) for entry in path]
            moves = decays(config.optimizer.decay_on, names)
            expected = -RATE * move * share(names, config.finetune) if moves else 0.0
            np.testing.assert_allclose(update, expected, rtol=1e-5, err_msg=".".join(names))


def names_in_torch(mask):
    leaves = jax.tree_util.tree_leaves_with_path(mask)
    return {
        torch_key(tuple(entry.key for entry in path), RESNET) for path, chosen in leaves if chosen
    }


def test_what_decays_is_what_timm_and_torchvision_decay(torch, torchvision, timm):
    with torch.device("meta"):
        network = torchvision.models.resnet50()
    name_of = {id(weight): name for name, weight in network.named_parameters()}
    optim = importlib.import_module(f"{timm.__name__}.optim")
    groups = optim.param_groups_weight_decay(network, weight_decay=0.02)
    theirs = {name_of[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    params = small_params("imagenet_rsb.py:a1")
    assert names_in_torch(decays_matrices(params)) == theirs
    split = importlib.import_module(f"{torchvision.__name__}.ops._utils")
    _, others = split.split_normalization_params(network)
    assert names_in_torch(decays_not_norms(params)) == {name_of[id(p)] for p in others}


@pytest.mark.parametrize("argument", ["a1", "a3"])
def test_the_update_of_rsb_is_that_of_timms_factory(torch, timm, argument):
    optim = importlib.import_module(f"{timm.__name__}.optim")
    config = recipe_for_its_data(f"imagenet_rsb.py:{argument}").optimizer
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    theirs = optim.create_optimizer_v2(
        network, opt="lamb", lr=config.learning_rate, weight_decay=config.weight_decay
    )
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    params = {name: jnp.asarray(w.detach().numpy()) for name, w in network.named_parameters()}
    ours = make_optimizer(config, optax.constant_schedule(config.learning_rate))
    update, state = jax.jit(ours.update), ours.init(params)
    rng = np.random.default_rng(0)
    # Gradients above LAMB's largest norm and below it.
    for size in (1.0, 0.1) * 5:
        gradient = {k: (size * rng.normal(size=s)).astype("f4") for k, s in shapes.items()}
        for name, weight in network.named_parameters():
            weight.grad = torch.tensor(gradient[name])
        theirs.step()
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    # In float32 the two are 4e-7 apart; without clipping they would be 3e-3 apart.
    for name, weight in network.named_parameters():
        np.testing.assert_allclose(params[name], weight.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("argument", ["a1", "a2"])
def test_the_loss_of_rsb_is_timms(torch, timm, argument):
    mixup = importlib.import_module(f"{timm.__name__}.data.mixup")
    losses = importlib.import_module(f"{timm.__name__}.loss")
    config = recipe_for_its_data(f"imagenet_rsb.py:{argument}")
    ours, theirs = jax.jit(make_loss(config)), losses.BinaryCrossEntropy(target_threshold=0.2)
    logits = np.random.default_rng(0).normal(size=(4, 1000)).astype(np.float32)
    labels = np.array([3, 5, 5, 8])
    classes = np.eye(1000, dtype=np.float32)[labels]
    # Shares on both sides of the threshold; a1's smoothing moves it to 0.222.
    for share in (0.199, 0.201, 0.221, 0.223, 0.5):
        smoothing = config.loss.label_smoothing
        smoothed = mixup.mixup_target(torch.tensor(labels), 1000, share, smoothing)
        expected = theirs(torch.tensor(logits), smoothed)
        found = ours(logits, share * classes + (1 - share) * classes[::-1]).mean()
        # In float32 the two are 1e-7 apart; one class too many or too few makes 1e-4.
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_torchvisions_loss_of_mixed_targets_is_pytorchs(torch):
    config = recipe_for_its_data("imagenet_torchvision_v2.py")
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 10)), rng.dirichlet(np.ones(10), 4)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = loss(torch.tensor(logits), torch.tensor(targets))
    ours = jax.jit(make_loss(config))(logits, targets).mean()
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_stochastic_depth_rises_as_in_timm(torch, timm):
    with torch.device("meta"):
        theirs = timm.create_model("resnet50", drop_path_rate=0.05)
    expected = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for number in range(1, 5)
        for block in getattr(theirs, f"layer{number}")
    ]
    ours = [
        block.drop_path.rate for stage in model_of("imagenet_rsb.py:a1").stages for block in stage
    ]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)

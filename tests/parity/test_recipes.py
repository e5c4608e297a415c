"""What the published recipes are made of, against the code that they were published with."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax.data.mixing import apply_mix, complete_draw
from resnet_jax.data.pipeline import steps_per_epoch
from resnet_jax.training.losses import make_loss
from resnet_jax.training.optimizers import make_optimizer
from resnet_jax.training.parameters import decays_matrices, decays_not_norms
from resnet_jax.training.recipes import load_recipe
from resnet_jax.training.schedules import make_schedule
from resnet_jax.training.state import build_model
from resnet_jax.weights.names import RESNET, torch_key

IMAGENET = 1_281_167


def rates_at(recipe, epochs):
    """Our learning rates at the start of epochs."""
    config = load_recipe(f"configs/{recipe}")
    per_epoch = steps_per_epoch(IMAGENET, config.batch_size)
    rate = make_schedule(
        config.schedule,
        peak=config.optimizer.learning_rate,
        total_steps=config.epochs * per_epoch,
        steps_per_epoch=per_epoch,
    )
    return [float(rate(epoch * per_epoch)) for epoch in epochs]


@pytest.fixture
def sgd(torch):
    return lambda rate: torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


# float32 against Python's floats: 1e-5 of the rate, and of the peak where a cosine nears its end.
@pytest.mark.parametrize(("argument", "peak"), [("a1", 5e-3), ("a2", 5e-3), ("a3", 8e-3)])
def test_rsbs_learning_rate_is_timms_at_each_epoch(timm, sgd, argument, peak):
    scheduler = importlib.import_module(f"{timm.__name__}.scheduler")
    epochs = load_recipe(f"configs/imagenet_rsb.py:{argument}").epochs
    # The defaults of timm's train.py: --sched cosine --warmup-lr 1e-4 --min-lr 1e-6.
    theirs = scheduler.CosineLRScheduler(
        sgd(peak), t_initial=epochs, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4
    )
    expected = [theirs._get_lr(epoch)[0] for epoch in range(epochs + 1)]
    ours = rates_at(f"imagenet_rsb.py:{argument}", range(epochs + 1))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7 * peak)


def test_torchvisions_second_learning_rate_is_pytorchs_at_each_epoch(torch, sgd):
    kinds, optimizer = torch.optim.lr_scheduler, sgd(0.5)
    parts = [
        kinds.LinearLR(optimizer, start_factor=0.01, total_iters=5),
        kinds.CosineAnnealingLR(optimizer, T_max=600 - 5),
    ]
    theirs, expected = kinds.SequentialLR(optimizer, parts, milestones=[5]), []
    for _ in range(601):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    ours = rates_at("imagenet_torchvision_v2.py", range(601))
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=5e-8)


def names_in_torch(mask):
    leaves = jax.tree_util.tree_leaves_with_path(mask)
    return {
        torch_key(tuple(entry.key for entry in path), RESNET) for path, chosen in leaves if chosen
    }


@pytest.fixture(scope="module")
def shapes():
    config = load_recipe("configs/imagenet_rsb.py:a1").model
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def test_what_decays_is_what_timm_and_torchvision_decay(torch, torchvision, timm, shapes):
    with torch.device("meta"):
        network = torchvision.models.resnet50()
    name_of = {id(weight): name for name, weight in network.named_parameters()}
    optim = importlib.import_module(f"{timm.__name__}.optim")
    groups = optim.param_groups_weight_decay(network, weight_decay=0.02)
    theirs = {name_of[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert names_in_torch(decays_matrices(shapes)) == theirs
    split = importlib.import_module(f"{torchvision.__name__}.ops._utils")
    _, others = split.split_normalization_params(network)
    assert names_in_torch(decays_not_norms(shapes)) == {name_of[id(p)] for p in others}


# A gradient above LAMB's largest norm, and one below it.
@pytest.mark.parametrize("size", [1.0, 1e-3])
@pytest.mark.parametrize("argument", ["a1", "a3"])
def test_the_update_of_rsb_is_that_of_timms_factory(torch, timm, argument, size):
    optim = importlib.import_module(f"{timm.__name__}.optim")
    config = load_recipe(f"configs/imagenet_rsb.py:{argument}").optimizer
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    theirs = optim.create_optimizer_v2(
        network, opt="lamb", lr=config.learning_rate, weight_decay=config.weight_decay
    )
    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}
    params = {name: jnp.asarray(w.detach().numpy()) for name, w in network.named_parameters()}
    ours = make_optimizer(config, optax.constant_schedule(config.learning_rate))
    state, rng = ours.init(params), np.random.default_rng(0)
    for _ in range(10):
        gradient = {k: (size * rng.normal(size=s)).astype("f4") for k, s in shapes.items()}
        for name, weight in network.named_parameters():
            weight.grad = torch.tensor(gradient[name])
        theirs.step()
        updates, state = ours.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    for name, weight in network.named_parameters():
        np.testing.assert_allclose(params[name], weight.detach(), rtol=1e-5, atol=1e-6)


# Shares on both sides of the threshold; a1's smoothing moves it to 0.222.
@pytest.mark.parametrize("share", [0.1, 0.21, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("argument", ["a1", "a2"])
def test_the_loss_of_rsb_is_timms(torch, timm, argument, share):
    mixup = importlib.import_module(f"{timm.__name__}.data.mixup")
    losses = importlib.import_module(f"{timm.__name__}.loss")
    config = load_recipe(f"configs/imagenet_rsb.py:{argument}")
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(4, 1000)).astype(np.float32), np.array([3, 5, 5, 8])
    smoothed = mixup.mixup_target(torch.tensor(labels), 1000, share, config.label_smoothing)
    expected = losses.BinaryCrossEntropy(target_threshold=0.2)(torch.tensor(logits), smoothed)
    draw = complete_draw(jnp.array([share]), jnp.array([False]), jnp.zeros((1, 4), int), 4, (1, 1))
    _, targets = apply_mix(draw, jnp.zeros((4, 1, 1, 1)), jnp.eye(1000)[labels])
    np.testing.assert_allclose(make_loss(config)(logits, targets).mean(), expected, rtol=1e-6)


def test_torchvisions_loss_of_mixed_targets_is_pytorchs(torch):
    config = load_recipe("configs/imagenet_torchvision_v2.py")
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(4, 10)), rng.dirichlet(np.ones(10), 4)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = loss(torch.tensor(logits), torch.tensor(targets))
    ours = make_loss(config)(jnp.asarray(logits), jnp.asarray(targets)).mean()
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_stochastic_depth_rises_as_in_timm(torch, timm):
    with torch.device("meta"):
        theirs = timm.create_model("resnet50", drop_path_rate=0.05)
    expected = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for number in range(1, 5)
        for block in getattr(theirs, f"layer{number}")
    ]
    config = load_recipe("configs/imagenet_rsb.py:a1").model
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    ours = [block.drop_path.rate for stage in model.stages for block in stage]
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_images_are_tested_as_the_published_weights_say(torchvision, timm):
    networks = importlib.import_module(f"{torchvision.__name__}.models")
    for recipe, weights in (
        ("imagenet_resnet50", networks.ResNet50_Weights.IMAGENET1K_V1),
        ("imagenet_torchvision_v2", networks.ResNet50_Weights.IMAGENET1K_V2),
    ):
        data, theirs = load_recipe(f"configs/{recipe}.py").data, weights.transforms()
        size = theirs.crop_size[0]
        assert [int(size / data.crop_fraction)] == theirs.resize_size
        assert data.interpolation == theirs.interpolation.value
        assert (list(data.mean), list(data.std)) == (theirs.mean, theirs.std)
    models = importlib.import_module(f"{timm.__name__}.models")
    for argument in ("a1", "a2", "a3"):
        data = load_recipe(f"configs/imagenet_rsb.py:{argument}").data
        record = models.get_pretrained_cfg(f"resnet50.{argument}_in1k")
        assert (data.crop_fraction, data.interpolation) == (record.crop_pct, record.interpolation)
        assert (data.mean, data.std) == (record.mean, record.std)
        assert data.image_size == record.input_size[-1]

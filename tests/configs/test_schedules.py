"""Steps, learning rates and sizes over the runs of the recipes, against their sources."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data.loading.pipeline import steps_per_epoch
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.training.step.resizing import size_at
from resnet_jax.training.step.schedules import make_schedule

pytestmark = pytest.mark.usefixtures("optimized")

IMAGENET, CIFAR, FLOWERS, DIGITS = 1_281_167, 50_000, 1_020, 1_293

# Training images, steps of the run, and learning rates by step.
RUNS = {
    "cifar10_fast.py": (CIFAR, 2910, {0: 0, 364: 0.2, 728: 0.4, 1819: 0.2, 2910: 0}),
    # He et al. 2015, section 4.2.
    "cifar10_he2015.py": (
        CIFAR,
        64_000,
        {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 1e-3, 63_999: 1e-3},
    ),
    "cifar10_he2015.py:resnet110": (
        CIFAR,
        64_000,
        {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 1e-3},
    ),
    "digits.py": (DIGITS, 1000, {0: 0, 30: 0.05, 60: 0.1, 530: 0.05, 1000: 0}),
    "finetune.py": (FLOWERS, 450, {0: 0, 5: 0.02 / 3, 15: 0.02, 232: 0.01003611, 450: 0}),
    # ffcv's get_cyclic_lr at the epochs 0, 1, 2, 9 and 16.
    "imagenet_fast.py": (
        IMAGENET,
        4992,
        {0: 1.7e-4, 312: 0.850085, 624: 1.7, 2808: 0.85, 4992: 0},
    ),
    # train.py: --lr 0.1 --lr-step-size 30 --lr-gamma 0.1, after 30 and 60 of 90 epochs.
    "imagenet_resnet50.py": (
        IMAGENET,
        450_360,
        {0: 0.1, 150_119: 0.1, 150_120: 0.01, 300_239: 0.01, 300_240: 1e-3, 450_359: 1e-3},
    ),
    # timm and PyTorch say the rest below: here are the end of the warm-up and the middle.
    "imagenet_rsb.py:a1": (IMAGENET, 375_000, {3125: 4.99914348e-3, 187_500: 2.5005e-3}),
    "imagenet_rsb.py:a2": (IMAGENET, 187_500, {3125: 4.99657452e-3, 93_750: 2.5005e-3}),
    "imagenet_rsb.py:a3": (IMAGENET, 62_500, {3125: 7.95075952e-3, 31_250: 4.0005e-3}),
    "imagenet_torchvision_v2.py": (IMAGENET, 750_600, {6255: 0.5, 375_300: 0.2532998965}),
}


def run(recipe, images):
    """The steps of an epoch, those of the run, and the learning rate as a function of the step."""
    config = load_recipe(f"configs/{recipe}")
    per_epoch = steps_per_epoch(images, config.batch_size)
    total = config.steps or config.epochs * per_epoch
    schedule = make_schedule(
        config.schedule,
        learning_rate=config.optimizer.learning_rate,
        total_steps=total,
        steps_per_epoch=per_epoch,
    )
    return per_epoch, total, jax.jit(schedule)


def assert_equal_learning_rates(ours, expected):
    """In float32: a relative error of 1e-6 or so, and a cosine ends in a difference from 1."""
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7 * max(expected))


@pytest.mark.parametrize("recipe", RUNS)
def test_steps_and_learning_rates_are_those_of_the_source(recipe):
    images, steps, expected = RUNS[recipe]
    _, total, schedule = run(recipe, images)
    assert total == steps
    assert_equal_learning_rates(schedule(jnp.array(list(expected))), list(expected.values()))


def learning_rates_at_each_epoch(recipe):
    per_epoch, total, schedule = run(recipe, IMAGENET)
    return schedule(jnp.arange(0, total + 1, per_epoch))


@pytest.fixture
def sgd(torch):
    return lambda learning_rate: torch.optim.SGD(
        [torch.nn.Parameter(torch.zeros(1))], lr=learning_rate
    )


@pytest.mark.parametrize(
    ("argument", "epochs", "learning_rate"),
    [("a1", 600, 5e-3), ("a2", 300, 5e-3), ("a3", 100, 8e-3)],
)
def test_rsbs_learning_rate_is_timms_at_each_epoch(timm, sgd, argument, epochs, learning_rate):
    scheduler = importlib.import_module(f"{timm.__name__}.scheduler")
    # The defaults of timm's train.py: --sched cosine --warmup-lr 1e-4 --min-lr 1e-6.
    theirs = scheduler.CosineLRScheduler(
        sgd(learning_rate), t_initial=epochs, lr_min=1e-6, warmup_t=5, warmup_lr_init=1e-4
    )
    expected = [theirs._get_lr(epoch)[0] for epoch in range(epochs + 1)]
    assert_equal_learning_rates(
        learning_rates_at_each_epoch(f"imagenet_rsb.py:{argument}"), expected
    )


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
    assert_equal_learning_rates(
        learning_rates_at_each_epoch("imagenet_torchvision_v2.py"), expected
    )


def test_ffcvs_images_grow_with_the_length_of_the_run():
    # start_ramp and end_ramp of rn50_configs.
    ramps = {16: (11, 13), 24: (17, 20), 32: (23, 27), 40: (29, 34), 56: (41, 48), 88: (65, 76)}
    for epochs, ramp in ramps.items():
        resize = load_recipe(f"configs/imagenet_fast.py:{epochs}").resize
        np.testing.assert_allclose((resize.begin * epochs, resize.end * epochs), ramp)
    resize, total = load_recipe("configs/imagenet_fast.py").resize, 16 * 312
    steps = (0, 12 * 312 - 1, 12 * 312, total - 1)
    sizes = [size_at(resize, step, total_steps=total, full=192) for step in steps]
    assert sizes == [160, 160, 192, 192]

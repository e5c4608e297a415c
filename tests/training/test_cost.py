"""What a training step costs, in counts that no other load on the machine can change.

The figures are those of the day when they were written. A change that makes a step cheaper lowers
them here; one that makes it dearer says why.
"""

import re

import jax
import jax.numpy as jnp
import optax
import pytest

from resnet_jax.training.feeds import open_feed
from resnet_jax.training.recipe.config import ModelConfig, OptimizerConfig, TrainConfig
from resnet_jax.training.step.metrics import Totals
from resnet_jax.training.step.optimizers import make_optimizer
from resnet_jax.training.step.state import initial_state, make_graphs
from resnet_jax.training.step.steps import make_train_step

pytestmark = pytest.mark.usefixtures("optimized")


def lower(name, *, size, batch_size, classes, platform):
    config = TrainConfig(
        batch_size=batch_size,
        model=ModelConfig(name=name, num_classes=classes, in_features=3),
        optimizer=OptimizerConfig(weight_decay=1e-4),
    )
    optimizer = make_optimizer(config.optimizer, lambda _: 0.1)
    step = make_train_step(make_graphs(config.model), optimizer, config)
    state = jax.eval_shape(lambda: initial_state(config, optimizer))
    batch = {
        "image": jax.ShapeDtypeStruct((batch_size, size, size, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((batch_size,), jnp.int32),
        "mask": jax.ShapeDtypeStruct((batch_size,), jnp.bool),
    }
    return jax.jit(step, donate_argnums=0).trace(state, batch).lower(lowering_platforms=(platform,))


@pytest.mark.parametrize(
    ("platform", "convolutions", "products"),
    [
        ("cuda", 3 * 53 - 1, [3]),
        # Of the 36 pointwise layers and the head all are products, and so are 7 of the gradients of
        # 3x3 kernels, of three shapes; with stride 2 odd rows and even rows have a product each.
        # Equal loops share their body up to jax 0.10, and have one each in jax 0.11.
        ("cpu", 3 * 17 - 1 - 7, [3 * (36 + 1) + 1 + 1 + 2, 3 * (36 + 1) + 3 + 3 + 2]),
    ],
)
def test_convolutions_of_resnet50(platform, convolutions, products):
    """Each layer has itself and two gradients, but for the images, whose gradient nobody wants."""
    text = lower("resnet50", size=224, batch_size=2, classes=1000, platform=platform).as_text()
    assert text.count("stablehlo.convolution") == convolutions
    assert text.count("stablehlo.dot_general") in products


def test_a_compiled_step_of_resnet20_does_no_more_than_it_did():
    # Of one image, for which there are no loops: XLA counts one round of a loop.
    lowered = lower("resnet20", size=32, batch_size=1, classes=10, platform="cpu")
    compiled = lowered.compile()
    cost = compiled.cost_analysis()
    # Another release of XLA may differ by a little: 1% is less than one layer.
    assert cost["flops"] < 1.01 * 251.7e6
    assert cost["bytes accessed"] < 1.01 * 54.81e6
    assert compiled.memory_analysis().temp_size_in_bytes < 1.01 * 4.846e6
    kinds = re.findall(r" = \S+ (convolution|copy|transpose)\(", compiled.as_text())
    assert kinds.count("convolution") == 3 * 19 - 1 - 12  # which are products
    # Most are of a kernel's size; the bytes say what they cost.
    assert kinds.count("copy") + kinds.count("transpose") <= 251


def test_the_first_parameters_come_from_one_generator():
    """Each kernel used to get its own, which compiled for longer than all the rest together."""
    config = TrainConfig(model=ModelConfig(name="resnet20", num_classes=10, in_features=3))
    lowered = jax.jit(lambda: initial_state(config, optax.identity())).lower()
    # A logarithm makes uniform numbers normal, and there is no other one in the program.
    assert lowered.compile().as_text().count(" log-plus-one(") == 1


def test_the_loop_launches_the_step_and_nothing_else(make, tmp_path):
    _, trainer = make()
    state, window = trainer.first_state(), Totals()
    with trainer.batches() as batches:
        feed = open_feed(trainer, batches)
        for step in range(8):
            if step == 3:  # everything is compiled
                jax.profiler.start_trace(tmp_path)
            state, sums = feed.advance(state, step, 1)
            window.add(sums)
        window.fetch()
    jax.profiler.stop_trace()
    (trace,) = tmp_path.rglob("*.xplane.pb")
    launched = {
        event.name
        for plane in jax.profiler.ProfileData.from_file(str(trace)).planes
        for line in plane.lines
        for event in line.events
        if event.name.startswith("PjitFunction")
    }
    assert launched == {"PjitFunction(train_step)"}

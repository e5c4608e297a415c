import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from resnet_jax.data.config import AugmentConfig
from resnet_jax.training.evaluator import make_evaluator
from resnet_jax.training.recipe.config import (
    EmaConfig,
    FinetuneConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    TrainConfig,
)
from resnet_jax.training.step import steps
from resnet_jax.training.step.optimizers import make_optimizer
from resnet_jax.training.step.state import Graphs, TrainState, Variables, make_graphs
from resnet_jax.training.step.steps import advance_schedule, make_eval_step, make_train_step
from resnet_jax.training.trainer import make_trainer


@pytest.fixture(scope="module")
def trainer():
    """The parts of a run with most of what a step can do, compiled once for this file."""
    config = TrainConfig(
        batch_size=64,
        model=ModelConfig(name="resnet8", num_classes=10, in_features=1),
        optimizer=OptimizerConfig(nesterov=True),
        augment=AugmentConfig(shift=2.0),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=0.9),
    )
    return make_trainer(make_evaluator(config))


@pytest.fixture(scope="module")
def graphs(trainer):
    return make_graphs(trainer.config.model)


@pytest.fixture(scope="module")
def step(trainer, graphs):
    """The step as users compile it, but for the donation; it may be traced once."""
    step = make_train_step(graphs, trainer.optimizer, trainer.config)
    return jax.jit(chex.assert_max_traces(step, n=1))


class Roots(nnx.Module):
    """Gives every image the same logits, whose slope is infinite where a square is zero."""

    def __init__(self):
        self.squares = nnx.Param(jnp.ones(10))

    def __call__(self, x, *, rngs):
        self.note(rngs.dropout.key[...])
        return jnp.broadcast_to(jnp.sqrt(self.squares[...]), (len(x), 10))

    def note(self, key):
        pass


@pytest.fixture
def roots(config, vary):
    """The first state of a network that compiles in no time, and what makes its step."""
    graph, params = nnx.split(Roots())
    params, optimizer = nnx.to_pure_dict(params), optax.sgd(0.1)
    counter = jnp.int32(0)
    state = TrainState(counter, counter, counter, params, {}, optimizer.init(params), None)
    return state, lambda: make_train_step(Graphs(graph, graph), optimizer, vary(config, ema=None))


def moved(before, after):
    return [
        not np.array_equal(a, b)
        for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True)
    ]


def test_a_step_moves_parameters_and_statistics_and_leaves_its_inputs(trainer, step, batch, copied):
    state = trainer.first_state()
    before = copied(state)
    first, second = step(state, batch), step(state, batch)
    chex.assert_trees_all_equal(copied(state), before)
    chex.assert_trees_all_equal(copied(first), copied(second))
    after = first[0]
    assert all(moved(before.batch_stats, after.batch_stats))
    assert all(moved(before.params, after.params))
    assert (int(after.step), int(after.skipped)) == (1, 0)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, before)


def test_the_compiled_step_takes_the_memory_of_its_state(trainer, batch):
    state = trainer.first_state()
    new_state, _ = trainer.train_step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new_state))


def test_steps_are_traced_once(trainer, step, graphs, batch):
    evaluate = jax.jit(chex.assert_max_traces(make_eval_step(graphs, trainer.config), n=1))
    state = trainer.first_state()
    for _ in range(3):
        state, _ = step(state, batch)
        evaluate(state.evaluated, batch)


def test_a_step_that_is_not_finite_changes_only_the_counters(trainer, step, batch, copied):
    state, _ = step(trainer.first_state(), batch)
    kernel = state.params["head"]["kernel"]
    state.params["head"]["kernel"] = kernel.at[0, 0].set(jnp.inf)
    before = copied(state)
    after, sums = step(state, batch)
    expected = before._replace(
        skipped=np.int32(1),
        skipped_in_row=np.int32(1),
        opt_state=advance_schedule(before.opt_state),
    )
    chex.assert_trees_all_equal(copied(after), expected)
    assert {name: float(value) for name, value in sums.items()} == {
        "loss": 0,
        "top1": 0,
        "count": 0,
        "gradient_norm": 0,
        "steps": 0,
        "skipped": 1,
        "skipped_in_row": 1,
    }
    after.params["head"]["kernel"] = kernel
    healed, _ = step(after, batch)
    assert (int(healed.step), int(healed.skipped), int(healed.skipped_in_row)) == (2, 1, 0)


@pytest.mark.parametrize("name", ["sgd", "lars", "lamb", "adamw", "lion", "muon"])
@pytest.mark.parametrize("frozen", [0, 1])
def test_the_rate_of_a_skipped_step_is_not_used_later(name, frozen):
    """A step after skips moves a weight by the rate that its number in the run has."""
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    finetune = FinetuneConfig(frozen_stages=frozen)
    optimizer = make_optimizer(
        OptimizerConfig(name=name, weight_decay=0.0), schedule, finetune=finetune
    )
    params = {"stem": {"w": jnp.ones((2, 2))}, "stages": {}, "head": {"w": jnp.eye(2)}}
    gradient = jax.tree.map(lambda param: 0.3 * param, params)
    start = optimizer.init(params)
    usual, _ = optimizer.update(gradient, start, params)
    late, _ = optimizer.update(gradient, advance_schedule(advance_schedule(start)), params)
    expected = jax.tree.map(lambda update: 0.8 * update, usual)
    chex.assert_trees_all_close(late, expected, rtol=1e-6)
    assert float(jnp.abs(usual["head"]["w"]).max()) > 0


def test_a_gradient_that_is_not_finite_is_skipped_whatever_the_loss(roots, batch):
    state, make_step = roots
    at_zero = state._replace(params={"squares": jnp.zeros(10)})  # the loss is the logarithm of ten
    after, sums = jax.jit(make_step())(at_zero, batch)
    assert (int(sums["skipped"]), int(after.skipped)) == (1, 1)
    chex.assert_trees_all_equal(after.params, at_zero.params)


def test_no_two_draws_have_the_same_key(roots, batch, monkeypatch):
    state, make_step = roots
    keys = []

    def note(key, *arrays):
        keys.append(jax.random.key_data(key))
        return arrays

    monkeypatch.setattr(steps, "build_augment", lambda _: lambda key, images: note(key, images)[0])
    monkeypatch.setattr(steps, "build_mix", lambda _, **settings: note)
    monkeypatch.setattr(Roots, "note", lambda _, key: note(key))
    step = make_step()

    @jax.jit
    def run(state):
        keys.clear()
        after, _ = step(state, batch)
        return after, jnp.stack(keys)

    skipped, first = run(state._replace(params={"squares": jnp.zeros(10)}))
    retried, second = run(skipped._replace(params=state.params))
    after, third = run(retried)
    assert (int(after.step), int(after.skipped)) == (2, 1)
    # To augment, to mix, and for the network.
    assert len(np.unique(np.concatenate([first, second, third]), axis=0)) == 3 * 3


def test_averages_of_parameters_and_statistics_warm_up(trainer, step, batch, copied):
    state = trainer.first_state()
    expected = copied(Variables(state.params, state.batch_stats))
    chex.assert_trees_all_equal(copied(state.average), expected)
    for updates in (1, 2, 3):
        state, _ = step(state, batch)
        decay = min(0.9, (1 + updates) / (10 + updates))
        live = Variables(state.params, state.batch_stats)
        expected = jax.tree.map(lambda old, new, d=decay: d * old + (1 - d) * new, expected, live)
    chex.assert_trees_all_close(copied(state.average), copied(expected), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(state.evaluated, state.average)


def test_without_averages_the_live_values_are_evaluated(make, config, vary):
    _, trainer = make(vary(config, ema=None))
    state = trainer.like()
    assert state.average is None
    assert state.evaluated == Variables(state.params, state.batch_stats)


def test_a_batch_can_be_learnt_by_heart(make, config, vary, batch):
    _, trainer = make(
        vary(
            config,
            schedule__name="constant",
            schedule__warmup_epochs=0.0,
            loss__label_smoothing=0.0,
        )
    )
    state = trainer.first_state()
    for _ in range(60):
        state, sums = trainer.train_step(state, batch)
    assert int(sums["top1"]) == int(sums["count"]) == 16
    assert float(sums["loss"]) / 16 < 0.05


def test_bfloat16_keeps_parameters_statistics_and_loss_in_float32(make, config, vary, batch):
    _, trainer = make(vary(config, model__dtype="bfloat16"))
    state, sums = trainer.train_step(trainer.first_state(), batch)
    chex.assert_tree_all_finite((state, sums))
    floating = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floating} == {jnp.dtype("float32")}
    assert sums["loss"].dtype == jnp.float32


def test_each_step_draws_its_own_augmentation(trainer, step, batch):
    state = trainer.first_state()
    losses = [float(step(state._replace(step=state.step + n), batch)[1]["loss"]) for n in (0, 0, 1)]
    assert losses[0] == losses[1]
    assert abs(losses[0] - losses[2]) > 1e-4


def test_the_search_for_nans_names_the_operation(roots, batch):
    state, make_step = roots
    jax.config.update("jax_debug_nans", True)
    try:
        with pytest.raises(FloatingPointError, match=r"invalid value \(nan\) encountered in sqrt"):
            jax.jit(make_step())(state._replace(params={"squares": -jnp.ones(10)}), batch)
    finally:
        jax.config.update("jax_debug_nans", False)

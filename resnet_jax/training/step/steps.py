"""The pure functions that a run repeats: the training step and the evaluation step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from resnet_jax.data.on_device.augment import build_augment, normalize
from resnet_jax.data.on_device.mixing import build_mix
from resnet_jax.machine.debugging import searches_for_nans
from resnet_jax.training.recipe.config import EmaConfig, TrainConfig
from resnet_jax.training.step.gradients import LossFunction, gradient_of
from resnet_jax.training.step.losses import make_loss, scale_of_batch
from resnet_jax.training.step.metrics import MetricSums, evaluation_sums
from resnet_jax.training.step.multi_label import multi_label_sums
from resnet_jax.training.step.optimizers import depths
from resnet_jax.training.step.state import Graphs, TrainState, Variables

PyTree = Any
DeviceBatch = dict[str, jax.Array]
TrainStep = Callable[[TrainState, DeviceBatch], tuple[TrainState, MetricSums]]
EvalStep = Callable[[Variables, DeviceBatch], MetricSums]


class _Keys(NamedTuple):
    """The random keys of one step."""

    augment: jax.Array
    dropout: jax.Array
    mix: jax.Array


def make_train_step(
    graphs: Graphs,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    *,
    gathered: jax.sharding.Sharding | None = None,
) -> TrainStep:
    """Makes the function `train_step(state, batch) -> (state, sums)`.

    It is pure: its randomness depends on the run's seed and the number of the step. If the loss or
    the gradient is not finite, it changes only counters: of skipped steps, and the schedule's.

    Args:
        graphs: From `make_graphs`.
        optimizer: From `make_optimizer`.
        config: The run.
        gathered: How the parameters of a sharded state lie while the network computes; None for a
            state that is not sharded.

    Returns:
        A function for `jax.jit` with `donate_argnums=0`. The sums are `loss`, `top1` and `count`
        over examples, `gradient_norm`, `steps` and `skipped` over steps; `skipped_in_row` is the
        counter after the step. If an image may have several classes, `hits`, `predicted` and
        `present` over examples and classes take the place of `top1`.
    """
    augment = build_augment(config.augment)
    units = functools.partial(normalize, mean=config.data.mean, std=config.data.std)
    mix = build_mix(config.augment, num_classes=config.model.sizes()[0], normalize=units)

    def train_step(state: TrainState, batch: DeviceBatch) -> tuple[TrainState, MetricSums]:
        keys = _step_keys(config.seed, state)
        pixels = augment(keys.augment, batch["image"])
        images, targets = mix(keys.mix, pixels, batch["label"])
        loss, logits, batch_stats, gradient = gradient_of(
            _make_loss_fn(graphs, config, gathered, scale_of_batch(config, targets)),
            state.params,
            state.batch_stats,
            images,
            targets,
            keys.dropout,
            parts=config.accumulation,
        )
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        updated = state._replace(
            step=state.step + 1,
            skipped_in_row=jnp.zeros_like(state.skipped_in_row),
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        new_state = _choose(finite, _average(updated, config.ema), state)
        sums = _training_sums(loss, norm, logits, batch["label"], finite)
        return new_state, sums | {"skipped_in_row": new_state.skipped_in_row}

    return train_step


def _make_loss_fn(
    graphs: Graphs,
    config: TrainConfig,
    gathered: jax.sharding.Sharding | None,
    scale: jax.Array | None,
) -> LossFunction:
    loss = make_loss(config)
    frozen = config.finetune.frozen_stages if config.finetune else 0

    def loss_fn(
        params: PyTree, batch_stats: PyTree, images: jax.Array, targets: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, PyTree]]:
        module = nnx.merge(graphs.train, _hold(_gather(params, gathered), frozen), batch_stats)
        logits = module(images, rngs=nnx.Rngs(dropout=key))
        stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        mean = loss(logits, targets).mean()
        return mean if scale is None else mean * scale, (logits, stats)

    return loss_fn


def _gather(params: PyTree, gathered: jax.sharding.Sharding | None) -> PyTree:
    """Makes each device hold the parameters in full while the network computes.

    The partitioner would otherwise split the convolutions along the sharded axis of their kernels:
    on a TPU, each becomes a loop in which the chips pass their parts around.
    """
    if gathered is None:
        return params
    return jax.lax.with_sharding_constraint(params, gathered)


def _hold(params: PyTree, frozen: int) -> PyTree:
    """Stops the gradient of the first `frozen` parts of the network."""
    if not frozen:
        return params
    return jax.tree.map(
        lambda param, depth: jax.lax.stop_gradient(param) if depth < frozen else param,
        params,
        depths(params),
    )


def make_eval_step(
    graphs: Graphs, config: TrainConfig, *, gathered: jax.sharding.Sharding | None = None
) -> EvalStep:
    """Makes the function `eval_step(variables, batch) -> sums`, which leaves out padding.

    The arguments are those of `make_train_step`. If an image may have several classes, the result
    also has the `logits`, `labels` and `mask` of the whole batch, which average precision needs.
    """

    def eval_step(variables: Variables, batch: DeviceBatch) -> MetricSums:
        params = _gather(variables.params, gathered)
        module = nnx.merge(graphs.evaluate, params, variables.batch_stats)
        logits = module(normalize(batch["image"], config.data.mean, config.data.std))
        labels, mask = batch["label"], batch["mask"]
        if labels.ndim == 1:
            return evaluation_sums(logits, labels, mask)
        seen = {"logits": logits, "labels": labels, "mask": mask}
        return multi_label_sums(logits, labels, mask) | seen

    return eval_step


def _step_keys(seed: int, state: TrainState) -> _Keys:
    # Skipped steps count too: a retry with the same random numbers would fail again.
    number = state.step + state.skipped
    return _Keys(*jax.random.split(jax.random.fold_in(jax.random.key(seed), number), 3))


def advance_schedule(opt_state: optax.OptState) -> optax.OptState:
    """Lets the learning rate of a step pass unused, and changes nothing else of the optimizer.

    A schedule counts batches, as in PyTorch: the rate that a record gives is the one that the step
    had, and the schedule ends with the run however many steps were skipped. The counts of Adam and
    its like, which correct their moments, count updates.
    """

    def is_schedule(part: Any) -> bool:
        return isinstance(part, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda part: part._replace(count=part.count + 1) if is_schedule(part) else part,
        opt_state,
        is_leaf=is_schedule,
    )


def _choose(finite: jax.Array, updated: TrainState, state: TrainState) -> TrainState:
    """Chooses the update or, if it is not finite, the old state with increased counters."""
    if searches_for_nans():
        return updated  # the search needs to see the NaN
    skipped = state._replace(
        skipped=state.skipped + 1,
        skipped_in_row=state.skipped_in_row + 1,
        opt_state=advance_schedule(state.opt_state),
    )
    return jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, skipped)


def _average(state: TrainState, config: EmaConfig | None) -> TrainState:
    """Moves the averages toward the live values; the decay warms up."""
    if config is None:
        return state
    updates = (state.step // config.every).astype(jnp.float32)
    decay = jnp.minimum(config.decay, (1 + updates) / (10 + updates))
    decay = jnp.where(state.step % config.every == 0, decay, 1.0)
    live = Variables(state.params, state.batch_stats)
    average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.average, live)
    return state._replace(average=average)


def _training_sums(
    loss: jax.Array, norm: jax.Array, logits: jax.Array, labels: jax.Array, finite: jax.Array
) -> MetricSums:
    batch_size = labels.shape[0]
    if labels.ndim == 1:
        right = {"top1": (logits.argmax(axis=-1) == labels).sum()}
    else:
        counted = multi_label_sums(logits, labels, jnp.ones(batch_size, jnp.bool_))
        right = {name: counted[name].sum() for name in ("hits", "predicted", "present")}
    return {
        "loss": jnp.where(finite, loss * batch_size, 0.0),
        **{name: jnp.where(finite, count, 0) for name, count in right.items()},
        "count": jnp.where(finite, batch_size, 0),
        "gradient_norm": jnp.where(finite, norm, 0.0),
        "steps": finite.astype(jnp.int32),
        "skipped": 1 - finite.astype(jnp.int32),
    }

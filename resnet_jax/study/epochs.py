"""Trains one network of a study epoch by epoch; a training that was interrupted goes on."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from resnet_jax.data.sources import Source
from resnet_jax.machine.mesh import replicated, state_shardings
from resnet_jax.machine.signals import Interruption
from resnet_jax.models import ResNet
from resnet_jax.study.gradient_record import record_gradients
from resnet_jax.study.networks import Epoch, TrainedNetwork, Training, keep, kept, with_nan
from resnet_jax.study.plan import StudyRun
from resnet_jax.study.progress import StudyProgress
from resnet_jax.training.evaluation import Evaluation, evaluate
from resnet_jax.training.evaluator import Evaluator, make_evaluator
from resnet_jax.training.feeds import Feed, open_feed
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.step.metrics import Totals
from resnet_jax.training.step.state import TrainState, initial_state
from resnet_jax.training.step.steps import make_train_step
from resnet_jax.training.trainer import Trainer, make_trainer
from resnet_jax.training.workdir.checkpoints import Checkpoints
from resnet_jax.training.workdir.claim import claimed
from resnet_jax.training.workdir.layout import Workdir


class InterruptedStudyError(Exception):
    """A signal ended the study; the same call continues after the last whole epoch."""


@dataclasses.dataclass
class _History:
    """What a training has found so far; its fields are notes of a checkpoint.

    Attributes:
        epochs: One entry per epoch.
        gradients: See `Training`.
        seconds: Wall-clock time.
    """

    epochs: list[Epoch]
    gradients: dict[str, list[float]]
    seconds: float

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any]) -> _History:
        """Reads the notes of a checkpoint."""
        epochs = [Epoch(**with_nan(values)) for values in notes["epochs"]]
        return cls(epochs, with_nan(notes["gradients"]), notes["seconds"])


def obtain(
    config: TrainConfig,
    run: StudyRun,
    folder: pathlib.Path,
    *,
    sources: Mapping[str, Source],
    progress: StudyProgress,
    interruption: Interruption,
) -> TrainedNetwork:
    """Trains a network, continues its training, or reads it if it is trained to the end.

    Args:
        config: Its recipe.
        run: Which network of the study it is.
        folder: Its folder.
        sources: The splits by their names in the recipe.
        progress: Takes every epoch.
        interruption: Looked at after every step.

    Raises:
        ConfigError: The folder belongs to a network with another recipe.
        InterruptedStudyError: A signal came; all whole epochs are kept.
    """
    evaluator = make_evaluator(config, workdir=folder, sources=sources)
    config = evaluator.config
    with claimed(Workdir(folder), config, evaluator.inputs):
        trained = kept(config, folder)
        if trained is not None:
            progress.found(run, config.epochs)
            progress.say(f"{run.name}: trained before")
            return trained
        trained = _train(evaluator, run, folder, progress=progress, interruption=interruption)
        keep(trained, folder)
        return trained


def _train(
    evaluator: Evaluator,
    run: StudyRun,
    folder: pathlib.Path,
    *,
    progress: StudyProgress,
    interruption: Interruption,
) -> TrainedNetwork:
    """Trains a network to its last epoch; each epoch is saved with what was measured in it."""
    config = evaluator.config
    trainer = _recording(make_trainer(evaluator), evaluator)
    tests = evaluator.batches(config.data.test_split)
    with (
        Checkpoints(Workdir(folder).checkpoints, config.checkpoint) as checkpoints,
        trainer.batches() as batches,
    ):
        feed = open_feed(trainer, batches)
        state, history = _begin_or_restore(trainer, checkpoints, feed)
        progress.found(run, len(history.epochs))
        while len(history.epochs) < config.epochs:
            start = time.perf_counter()
            state, sums, norms = _one_epoch(trainer, feed, state, interruption=interruption)
            test = evaluate(evaluator, state.evaluated, tests)
            assert isinstance(test, Evaluation)
            history.gradients = {**norms, **history.gradients, "last epoch": norms["last epoch"]}
            history.epochs.append(_epoch(sums, test))
            seconds = time.perf_counter() - start
            history.seconds += seconds
            notes = {"data": feed.batches.get_state(), **dataclasses.asdict(history)}
            checkpoints.save(int(state.step), state, notes)
            progress.trained(run, seconds=seconds, result=_phrase(history.epochs[-1]))
    return _finish(evaluator, state, history, test_count=tests.examples)


def _begin_or_restore(
    trainer: Trainer, checkpoints: Checkpoints, feed: Feed
) -> tuple[TrainState, _History]:
    if not checkpoints.steps():
        return _first_state(trainer), _History([], {}, 0.0)
    restored = checkpoints.restore(trainer.like())
    checkpoints.set_aside(list(restored.broken))
    feed.batches.set_state(restored.notes["data"])
    return restored.state, _History.from_notes(restored.notes)


def _one_epoch(
    trainer: Trainer, feed: Feed, state: TrainState, *, interruption: Interruption
) -> tuple[TrainState, dict[str, float], dict[str, list[float]]]:
    """Trains for an epoch.

    Returns:
        The state, the sums of the metrics, and the norms of the gradients: of the first step, and
        means over the epoch, as if it were the first one and the last.
    """
    totals, before = Totals(), _gradient_total(state)
    first = done = int(state.step)
    norms: dict[str, list[float]] = {}
    while done < first + trainer.steps_per_epoch:
        left = first + trainer.steps_per_epoch - done
        steps = 1 if done == first else min(feed.most, left)
        state, sums = feed.advance(state, done, steps)
        done += steps
        totals.add(sums, steps)
        if not norms:
            norms["initial"] = (_gradient_total(state) - before).tolist()
        if interruption.is_due(done):
            raise InterruptedStudyError
    mean = ((_gradient_total(state) - before) / trainer.steps_per_epoch).tolist()
    return state, totals.fetch(), {**norms, "first epoch": mean, "last epoch": mean}


def _recording(trainer: Trainer, evaluator: Evaluator) -> Trainer:
    """Returns the same trainer with a record of the gradients."""
    config, mesh = trainer.config, trainer.mesh
    optimizer = optax.chain(record_gradients(), trainer.optimizer)
    shapes = jax.eval_shape(lambda: initial_state(config, optimizer))
    shardings = state_shardings(shapes, mesh, fsdp=config.mesh.fsdp)
    step = make_train_step(evaluator.graphs, optimizer, config)
    return dataclasses.replace(
        trainer,
        optimizer=optimizer,
        shapes=shapes,
        shardings=shardings,
        train_step=jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh))),
    )


def _first_state(trainer: Trainer) -> TrainState:
    """Draws the first state from the seed, as for docs/study.md; it differs from that of a run."""
    key = jax.random.key(trainer.config.seed)
    draw = functools.partial(initial_state, trainer.config, trainer.optimizer, key=key)
    # On the devices where the step puts the later states; otherwise it would be compiled twice.
    return jax.jit(draw, out_shardings=trainer.shardings)()


def _gradient_total(state: TrainState) -> NDArray[np.float64]:
    # A copy on the host: the next step reuses the memory of the state.
    return np.array(state.opt_state[0].total, np.float64)


def _epoch(sums: dict[str, float], test: Evaluation) -> Epoch:
    count = max(sums["count"], 1)
    return Epoch(
        train_loss=sums["loss"] / count,
        train_error=1 - sums["top1"] / count,
        test_loss=test.loss,
        test_error=1 - test.accuracy,
    )


def _phrase(epoch: Epoch) -> str:
    return (
        f"training loss {epoch.train_loss:.3f}  training error {epoch.train_error:.2%}  "
        f"test error {epoch.test_error:.2%}"
    )


def _finish(
    evaluator: Evaluator, state: TrainState, history: _History, *, test_count: int
) -> TrainedNetwork:
    """Measures the training error of the trained network in evaluation."""
    config = evaluator.config
    fitted = evaluate(evaluator, state.evaluated, evaluator.batches(config.data.train_split))
    assert isinstance(fitted, Evaluation)
    training = Training(
        network=config.model.name,
        seed=config.seed,
        epochs=history.epochs,
        train_error=1 - fitted.accuracy,
        train_count=fitted.count,
        test_count=test_count,
        steps=int(state.step),
        seconds=history.seconds,
        gradients=history.gradients,
    )
    return TrainedNetwork(config, training, _model(evaluator, state))


def _model(evaluator: Evaluator, state: TrainState) -> ResNet:
    variables = state.evaluated
    return nnx.merge(
        evaluator.graphs.evaluate, nnx.State(variables.params), nnx.State(variables.batch_stats)
    )

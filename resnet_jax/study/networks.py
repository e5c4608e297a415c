"""Trains the networks of a plan, and keeps them so that a study can be resumed."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.machine.mesh import put_batch, replicated
from resnet_jax.models import ResNet
from resnet_jax.plain_json import json_text
from resnet_jax.study.gradient_record import record_gradients
from resnet_jax.training.evaluation import Evaluation, evaluate
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import to_json
from resnet_jax.training.setup import Evaluator, Trainer, make_evaluator, make_trainer
from resnet_jax.training.step.metrics import Totals
from resnet_jax.training.step.state import TrainState, Variables, initial_state, variables_of
from resnet_jax.training.step.steps import make_train_step
from resnet_jax.weights import load, save
from resnet_jax.whole_files import write_text

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Epoch:
    """The results of a network after an epoch.

    Attributes:
        train_loss: Mean over the steps of the epoch, while the network changed.
        train_error: Share of the images misclassified in those steps.
        test_loss: Mean cross-entropy over the test split.
        test_error: Share of the test split that is misclassified.
    """

    train_loss: float
    train_error: float
    test_loss: float
    test_error: float


@dataclasses.dataclass(frozen=True)
class Training:
    """The results of a training, as plain values for JSON.

    Attributes:
        network: Its name.
        epochs: One entry per epoch.
        train_error: Share of the training split that is misclassified at the end, in evaluation.
        train_count: Images of the training split.
        test_count: Images of the test split.
        steps: Updates.
        seconds: Wall-clock time, including compilation.
        gradients: The norm of each convolution's gradient, the first layer first: at the first
            step (`initial`) and as a mean over the steps of the first and the last epoch.
    """

    network: str
    epochs: list[Epoch]
    train_error: float
    train_count: int
    test_count: int
    steps: int
    seconds: float
    gradients: dict[str, list[float]]

    @property
    def test_error(self) -> float:
        """Share of the test split that is misclassified at the end."""
        return self.epochs[-1].test_error


@dataclasses.dataclass(frozen=True)
class TrainedNetwork:
    """A network at the end of its training, in evaluation mode."""

    config: TrainConfig
    training: Training
    model: ResNet

    @property
    def variables(self) -> Variables:
        """Its arrays as nested dicts."""
        return variables_of(self.model)


def obtain(config: TrainConfig, folder: pathlib.Path, *, say: Say) -> TrainedNetwork:
    """Trains a network, or loads it from the folder if the same run has finished there before.

    Args:
        config: The run.
        folder: Where networks are kept.
        say: Reports a line.
    """
    name = config.model.name
    weights, notes = folder / f"{name}.safetensors", folder / f"{name}.json"
    if weights.is_file() and notes.is_file():
        kept = json.loads(notes.read_text())
        if kept["config"] == json.loads(to_json(config)):
            say(f"{name}: trained before")
            model = load(weights)
            model.eval()
            return TrainedNetwork(config, _training(kept["training"]), model)
    trained = train_network(config, say=say)
    folder.mkdir(parents=True, exist_ok=True)
    save(trained.model, weights)
    record = {
        "config": json.loads(to_json(config)),
        "training": dataclasses.asdict(trained.training),
    }
    write_text(notes, json_text(record, indent=1) + "\n")
    return trained


def train_network(config: TrainConfig, *, say: Say) -> TrainedNetwork:
    """Trains a network.

    Args:
        config: The run.
        say: Reports a line per epoch.
    """
    start = time.perf_counter()
    evaluator = make_evaluator(config)
    trainer = _recording(make_trainer(config, evaluator), evaluator)
    tests = evaluator.batches(config.data.test_split)
    state = _first_state(trainer)
    epochs: list[Epoch] = []
    gradients: dict[str, list[float]] = {}
    with trainer.batches() as batches:
        for number in range(config.epochs):
            state, sums, norms = _one_epoch(trainer, state, batches)
            gradients.setdefault("initial", norms["first step"])
            gradients.setdefault("first epoch", norms["mean"])
            gradients["last epoch"] = norms["mean"]
            test = evaluate(evaluator, state.evaluated, tests)
            epochs.append(_epoch(sums, test))
            say(_line(config, number, epochs[-1], time.perf_counter() - start))
    whole = evaluator.batches(config.data.train_split)
    fitted = evaluate(evaluator, state.evaluated, whole)
    training = Training(
        network=config.model.name,
        epochs=epochs,
        train_error=1 - fitted.accuracy,
        train_count=fitted.count,
        test_count=test.count,
        steps=int(state.step),
        seconds=time.perf_counter() - start,
        gradients=gradients,
    )
    return TrainedNetwork(config, training, _model(evaluator, state))


def _one_epoch(
    trainer: Trainer, state: TrainState, batches: BatchIterator
) -> tuple[TrainState, dict[str, float], dict[str, list[float]]]:
    """Trains for an epoch; returns the sums of its metrics and the norms of its gradients."""
    totals, before = Totals(), _gradient_total(state)
    norms: dict[str, list[float]] = {}
    for _ in range(trainer.steps_per_epoch):
        state, sums = trainer.train_step(state, put_batch(next(batches), trainer.mesh))
        totals.add(sums)
        if not norms:
            norms["first step"] = (_gradient_total(state) - before).tolist()
    norms["mean"] = ((_gradient_total(state) - before) / trainer.steps_per_epoch).tolist()
    return state, totals.fetch(), norms


def _recording(trainer: Trainer, evaluator: Evaluator) -> Trainer:
    """Returns the same trainer with a record of the gradients."""
    optimizer = optax.chain(record_gradients(), trainer.optimizer)
    step = make_train_step(evaluator.graphs, optimizer, trainer.config)
    return dataclasses.replace(
        trainer, optimizer=optimizer, train_step=jax.jit(step, donate_argnums=0)
    )


def _first_state(trainer: Trainer) -> TrainState:
    """Draws the first state from the seed, as for docs/study.md; it differs from that of a run."""
    key = jax.random.key(trainer.config.seed)
    draw = functools.partial(initial_state, trainer.config, trainer.optimizer, key=key)
    # On the devices where the step puts the later states; otherwise it would be compiled twice.
    return jax.jit(draw, out_shardings=replicated(trainer.mesh))()


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


def _line(config: TrainConfig, number: int, epoch: Epoch, seconds: float) -> str:
    return (
        f"{config.model.name}  epoch {number + 1}/{config.epochs}  "
        f"training loss {epoch.train_loss:.3f}  training error {epoch.train_error:.2%}  "
        f"test error {epoch.test_error:.2%}  {seconds:.0f} s"
    )


def _model(evaluator: Evaluator, state: TrainState) -> ResNet:
    variables = state.evaluated
    return nnx.merge(
        evaluator.graphs.evaluate, nnx.State(variables.params), nnx.State(variables.batch_stats)
    )


def _training(kept: dict[str, Any]) -> Training:
    values = _with_nan(kept)
    return Training(**{**values, "epochs": [Epoch(**epoch) for epoch in values["epochs"]]})


def _with_nan(value: Any) -> Any:
    """Puts NaN back, for which JSON has null; every value of a training is known."""
    if isinstance(value, dict):
        return {name: _with_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_nan(inner) for inner in value]
    return math.nan if value is None else value

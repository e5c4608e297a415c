"""How a run goes forward: a batch of the stream at a time, or many from a set on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resnet_jax.data.loading.batches import Batch
from resnet_jax.data.loading.iterator import BatchIterator
from resnet_jax.data.on_device.resident import ResidentData, steps_indices, take_batch, to_device
from resnet_jax.data.sources.examples import InMemorySource, Source
from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import replicated, split_by_example
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.setup import Trainer
from resnet_jax.training.step.metrics import MetricSums
from resnet_jax.training.step.state import TrainState
from resnet_jax.training.step.steps import TrainStep

STEPS_PER_DISPATCH = 64

PutBatch = Callable[[Batch, int], dict[str, Any]]
"""Moves the batch of a step, from 0, to the devices."""


class Feed(Protocol):
    """Takes a run forward.

    Attributes:
        most: The most steps that one call can take.
        batches: Knows the position in the data; to be saved, restored and closed.
    """

    most: int
    batches: BatchIterator

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Takes `steps` steps, at most `most`, of which the first is number `step`, from 0.

        Returns:
            The state after them, and their sums: scalars, or arrays whose first `steps` values are
            those of the steps.
        """
        ...


class StreamedFeed:
    """Takes each batch from the host.

    Args:
        train_step: Compiled, from `make_train_step`.
        batches: The host's part of the batches.
        put: Moves them to the devices.
    """

    most = 1

    def __init__(self, train_step: TrainStep, batches: BatchIterator, put: PutBatch) -> None:
        self.batches = batches
        self._train_step = train_step
        self._put = put

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Takes one step."""
        del steps
        return self._train_step(state, self._put(next(self.batches), step))


class ResidentFeed:
    """Takes many steps in one dispatch, over a set that lies on every device.

    The examples of a step, and its random numbers, are those of the stream with the same seed.

    Args:
        train_step: Compiled, from `make_train_step`.
        batches: Would give the batches from the host; here it only counts.
        source: The training split.
        config: The run.
        mesh: The devices; each holds the whole set, and its share of each batch.
        most: Steps of a dispatch.
    """

    def __init__(
        self,
        train_step: TrainStep,
        batches: BatchIterator,
        source: InMemorySource,
        config: TrainConfig,
        mesh: Mesh,
        *,
        most: int,
    ) -> None:
        self.batches = batches
        self.most = most
        self._config = config
        self._data = to_device(source, replicated(mesh))
        self._train_step = train_step
        split = split_by_example(mesh)
        self._take = jax.jit(take_batch, out_shardings=split)
        self._run = jax.jit(make_run(train_step, split), donate_argnums=0)

    def advance(self, state: TrainState, step: int, steps: int) -> tuple[TrainState, MetricSums]:
        """Takes `steps` steps in one dispatch."""
        indices = np.zeros((self.most, self._config.batch_size), np.int32)
        indices[:steps] = steps_indices(
            len(self._data.label),
            self._config.batch_size,
            seed=self._config.seed,
            first_step=step,
            steps=steps,
            repeats=self._config.data.repeats,
            straddle=self._config.data.straddle_epochs,
        )
        self.batches.skip(steps)
        if self.most == 1:
            return self._train_step(state, self._take(self._data, indices[0]))
        result: tuple[TrainState, MetricSums] = self._run(
            state, self._data, indices, np.int32(steps)
        )
        return result


def open_feed(trainer: Trainer, batches: BatchIterator) -> Feed:
    """Chooses how a run goes forward.

    Args:
        trainer: The run.
        batches: The host's part of the batches.

    Raises:
        ConfigError: The recipe asks for a set on the device, and that cannot be.
    """
    config, source = trainer.config, trainer.source
    on_cpu = trainer.mesh.devices.flat[0].platform == "cpu"
    obstacle = _obstacle(config, source)
    wanted = config.data.device_resident
    if wanted and obstacle:
        raise ConfigError(f"data.device_resident=True: {obstacle}, or data.device_resident=None")
    if wanted is None:
        wanted = not on_cpu and obstacle is None
    if not wanted or not isinstance(source, InMemorySource):
        return StreamedFeed(trainer.train_step, batches, trainer.put)
    # XLA runs the body of a loop on CPU several times slower than the same step by itself.
    most = 1 if on_cpu else STEPS_PER_DISPATCH
    return ResidentFeed(trainer.train_step, batches, source, config, trainer.mesh, most=most)


def _obstacle(config: TrainConfig, source: Source) -> str | None:
    """Says why a set cannot live on the device, and what to set."""
    if config.data.image_size is not None:
        return "images are cropped on the host; set data.image_size=None"
    if config.augment.policy is not None:
        return "the policy changes images on the host; set augment.policy=None"
    if config.resize is not None:
        return "progressive resizing takes batches from the host; set resize=None"
    if not isinstance(source, InMemorySource):
        return f"{config.data.name} is not kept in memory; set data.in_memory=True"
    return None


def make_run(train_step: TrainStep, split: jax.sharding.Sharding) -> Callable[..., Any]:
    """Makes the function `run(state, data, indices, steps) -> (state, sums)`.

    It is one loop on the device. The number of its rounds is an argument, so that it is compiled
    once, however far the next record, evaluation or checkpoint is; `lax.scan` would be compiled for
    each length.

    Args:
        train_step: From `make_train_step`.
        split: The sharding of a batch.

    Returns:
        A function for `jax.jit` with `donate_argnums=0`: from a state, a set on the device, the
        rows of its batches [rows, batch] and the number of the rows that count, to the state after
        them and the sums of each step, [rows].
    """

    def run(
        state: TrainState, data: ResidentData, indices: jax.Array, steps: jax.Array
    ) -> tuple[TrainState, MetricSums]:
        def batch_of(at: jax.Array) -> dict[str, jax.Array]:
            return jax.lax.with_sharding_constraint(take_batch(data, indices[at]), split)

        def body(
            at: jax.Array, carry: tuple[TrainState, MetricSums]
        ) -> tuple[TrainState, MetricSums]:
            state, table = carry
            state, sums = train_step(state, batch_of(at))
            return state, {name: table[name].at[at].set(value) for name, value in sums.items()}

        shapes = jax.eval_shape(lambda: train_step(state, batch_of(jnp.int32(0)))[1])
        table = {name: jnp.zeros(len(indices), value.dtype) for name, value in shapes.items()}
        return jax.lax.fori_loop(0, steps, body, (state, table))

    return run

"""Runs that begin with trained weights."""

from __future__ import annotations

import jax
from flax import nnx

from resnet_jax import weights
from resnet_jax.training.config import TrainConfig
from resnet_jax.training.state import TrainState, Variables, parameter_key


def load_variables(config: TrainConfig, source: str) -> Variables:
    """Reads the variables of a recipe's network; a new head is drawn from the run's seed.

    Args:
        config: The run.
        source: A file, or the tag of published weights, as `resnet_jax.weights.create_model` takes.

    Raises:
        ConfigError: There are no such weights.
        WeightsError: They cannot be read, or do not fit the network.
    """
    model = weights.create_model(
        config.model.name,
        pretrained=source,
        num_classes=config.model.num_classes,
        in_features=config.model.in_features,
        rngs=nnx.Rngs(params=parameter_key(config.seed)),
    )
    params, batch_stats = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats))


def start_from(state: TrainState, variables: Variables) -> TrainState:
    """Puts variables into a first state, where its own lie; averages begin with them as well."""

    def put(new: jax.Array, old: jax.Array) -> jax.Array:
        return jax.device_put(new, old.sharding)

    live = jax.tree.map(put, variables, Variables(state.params, state.batch_stats))
    return state._replace(
        params=live.params,
        batch_stats=live.batch_stats,
        # Copies: a donated state must not hold one buffer twice.
        average=state.average and jax.tree.map(jax.numpy.copy, live),
    )

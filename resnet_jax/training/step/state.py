"""The state of training, and its first value: random or with trained weights."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from resnet_jax import weights
from resnet_jax.errors import ConfigError
from resnet_jax.models import ResNetConfig
from resnet_jax.models.initialize import initialize
from resnet_jax.models.resnet import ResNet
from resnet_jax.training.recipe.config import FinetuneConfig, ModelConfig, TrainConfig
from resnet_jax.zoo import model_config

PyTree = Any


class Variables(NamedTuple):
    """The arrays of a network, as nested dicts."""

    params: PyTree
    batch_stats: PyTree


def variables_of(model: ResNet) -> Variables:
    """Returns the parameters and statistics of a network as nested dicts."""
    params, batch_stats = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats))


class TrainState(NamedTuple):
    """The state of a run between two steps: plain arrays, nothing hidden.

    Attributes:
        step: Updates done so far.
        skipped: Steps without an update because the loss or the gradient was not finite.
        skipped_in_row: Skipped steps since the last update.
        params: The live parameters.
        batch_stats: The live BatchNorm statistics.
        opt_state: The optimizer state.
        average: Moving averages of parameters and statistics, or None.
    """

    step: jax.Array
    skipped: jax.Array
    skipped_in_row: jax.Array
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    average: Variables | None

    @property
    def evaluated(self) -> Variables:
        """The variables that evaluation uses: the averages, if the run keeps them."""
        return self.average or Variables(self.params, self.batch_stats)


class Graphs(NamedTuple):
    """The network's structure without its arrays, once for each mode."""

    train: nnx.GraphDef[ResNet]
    evaluate: nnx.GraphDef[ResNet]


def build_model(config: ModelConfig, *, rngs: nnx.Rngs) -> ResNet:
    """Builds the network of a recipe.

    Raises:
        ConfigError: The network is unknown, its widths cannot be multiplied by `config.width`, or
            it has no norms to fold.
    """
    num_classes, in_features = config.sizes()
    named = scaled(
        model_config(config.name, num_classes=num_classes, in_features=in_features), config
    )
    batch_norm = dataclasses.replace(
        named.batch_norm,
        group_size=config.norm_group_size,
        unbiased_variance=config.unbiased_variance,
        fold=config.fold_norms,
    )
    architecture = dataclasses.replace(
        named,
        batch_norm=batch_norm,
        zero_init_last=config.zero_init_last,
        drop_path_rate=config.drop_path_rate,
        dropout_rate=config.dropout_rate,
        global_pool=config.global_pool,
        remat=config.remat,
    )
    if config.fold_norms:
        _check_folding(architecture, config)
    dtype = None if config.dtype == "float32" else jnp.dtype(config.dtype)
    return ResNet(architecture, dtype=dtype, rngs=rngs)


def _check_folding(network: ResNetConfig, config: ModelConfig) -> None:
    """Checks that `fold_norms` changes something."""
    if config.dtype == "float32":
        raise ConfigError(
            "model.fold_norms=True does nothing in float32; set model.dtype=bfloat16, or "
            "model.fold_norms=False"
        )
    widens = "bottleneck" in network.blocks or network.shortcut != "a"
    if network.preactivation or network.norm != "batch" or not widens:
        raise ConfigError(
            f"model.fold_norms=True does nothing in {config.name}: no BatchNorm follows a 1x1 "
            "convolution that widens; set model.fold_norms=False"
        )


def scaled(network: ResNetConfig, config: ModelConfig) -> ResNetConfig:
    """Multiplies the widths of a network by the factor of a recipe.

    Raises:
        ConfigError: A width would not be a whole number.
    """
    widths = [config.width * width for width in (network.stem_features, *network.widths)]
    if not all(width.is_integer() for width in widths):
        raise ConfigError(
            f"model.width={config.width:g}: {config.name} would have widths of "
            f"{', '.join(f'{width:g}' for width in widths)}; choose a factor that makes all of "
            "them whole"
        )
    stem, *stages = map(int, widths)
    return dataclasses.replace(network, stem_features=stem, widths=tuple(stages))


def make_graphs(config: ModelConfig, *, finetune: FinetuneConfig | None = None) -> Graphs:
    """Describes the network without computing any array.

    Args:
        config: The network.
        finetune: The frozen stages, which stay in evaluation mode during training.

    Raises:
        ConfigError: There are fewer stages than should be frozen.
    """
    model = nnx.eval_shape(lambda: build_model(config, rngs=nnx.Rngs(0)))
    model.train()
    frozen = finetune.frozen_stages if finetune else 0
    if frozen > len(model.stages) + 1:
        raise ConfigError(
            f"finetune.frozen_stages={frozen}: {config.name} has a stem and {len(model.stages)} "
            f"stages; give at most {len(model.stages) + 1}"
        )
    for part in [model.stem, *model.stages][:frozen]:
        part.eval()
    train = nnx.graphdef(model)
    model.eval()
    return Graphs(train=train, evaluate=nnx.graphdef(model))


def parameter_key(seed: int) -> jax.Array:
    """Returns the key of a run's initial parameters, which differs from the key of every step.

    Each step folds its number into the key of the seed; no step reaches this number.
    """
    return jax.random.fold_in(jax.random.key(seed), 2**32 - 1)


def initial_state(
    config: TrainConfig, optimizer: optax.GradientTransformation, *, key: jax.Array | None = None
) -> TrainState:
    """Draws the initial parameters.

    It is pure, so that `jax.jit` can run it and place the state on the devices.

    Args:
        config: The run.
        optimizer: From `make_optimizer`.
        key: The key of the parameters; None takes that of the run's seed.

    Returns:
        The state before the first step.
    """
    if key is None:
        key = parameter_key(config.seed)
    variables = variables_of(initialize(lambda rngs: build_model(config.model, rngs=rngs), key))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_row=jnp.zeros((), jnp.int32),
        params=variables.params,
        batch_stats=variables.batch_stats,
        opt_state=optimizer.init(variables.params),
        # A copy: a donated state must not hold one buffer twice.
        average=jax.tree.map(jnp.copy, variables) if config.ema else None,
    )


def load_variables(config: TrainConfig, source: str) -> Variables:
    """Reads the variables of a recipe's network; a new head is drawn from the run's seed.

    Args:
        config: The run.
        source: A file, or the tag of published weights, as `resnet_jax.weights.create_model` takes.

    Raises:
        ConfigError: The weights do not exist.
        WeightsError: They cannot be read, or do not fit the network.
    """
    name = config.model.name
    model = weights.create_model(
        name if config.model.width == 1 else scaled(model_config(name), config.model),
        pretrained=source,
        num_classes=config.model.num_classes,
        in_features=config.model.in_features,
        rngs=nnx.Rngs(params=parameter_key(config.seed)),
    )
    return variables_of(model)


def start_from(state: TrainState, variables: Variables) -> TrainState:
    """Replaces the variables and averages of an initial state, on the same devices."""

    def put(new: jax.Array, old: jax.Array) -> jax.Array:
        return jax.device_put(new, old.sharding)

    live = jax.tree.map(put, variables, Variables(state.params, state.batch_stats))
    return state._replace(
        params=live.params,
        batch_stats=live.batch_stats,
        # Copies: a donated state must not hold one buffer twice.
        average=state.average and jax.tree.map(jax.numpy.copy, live),
    )

"""Optimizers, as chains of small optax transformations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from optax import contrib

from resnet_jax.training.recipe.config import FinetuneConfig, OptimizerConfig

PyTree = Any

# Gives Muon's steps the size of AdamW's, so that one learning rate suits both.
_MUON_RMS = 0.2


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule, *, finetune: FinetuneConfig | None = None
) -> optax.GradientTransformation:
    """Builds the chain that turns gradients into updates.

    Clipping comes first. L2 decay is added to the gradient before the rule, decoupled decay to the
    update after it. Then come LAMB's trust ratio, the factors of the stages and the learning rate.
    LARS has its trust ratio before the learning rate and its momentum after it, as in the paper.

    Args:
        config: The update rule.
        schedule: The learning rate of each update.
        finetune: The frozen parts, and the decay of the learning rate over the other parts.

    Returns:
        An optax transformation; its updates are added to the parameters.

    References:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization. You et al., Large Batch
        Training of Convolutional Networks (LARS). You et al., Large Batch Optimization for Deep
        Learning (LAMB). Chen et al., Symbolic Discovery of Optimization Algorithms (Lion). Jordan
        et al., Muon; Liu et al., Muon is Scalable for LLM Training, section 2.2 (size of its step).
    """
    mode = decay_mode(config)
    learning_rate = [*_stage_factors(finetune), optax.scale_by_learning_rate(schedule)]
    chain = optax.chain(
        *([] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]),
        *(_decay(config) if mode == "l2" else []),
        *([_trust_ratio(config)] if config.name == "lars" else [_rule(config)]),
        *(_decay(config) if mode == "decoupled" else []),
        *([_trust_ratio(config)] if config.name == "lamb" else []),
        *learning_rate,
        *([_momentum(config)] if config.name == "lars" else []),
    )
    if finetune is None or not finetune.frozen_stages:
        return chain
    frozen = finetune.frozen_stages

    def label(params: PyTree) -> PyTree:
        return jax.tree.map(lambda d: "frozen" if d < frozen else "moving", depths(params))

    return optax.partition({"moving": chain, "frozen": optax.set_to_zero()}, label)


def decay_mode(config: OptimizerConfig) -> Literal["l2", "decoupled"]:
    """Returns how the decay is applied: as the config says, or else as is usual for the rule."""
    return config.decay_mode or ("l2" if config.name in ("sgd", "lars") else "decoupled")


def decays_matrices(params: PyTree) -> PyTree:
    """Selects the parameters with more than one dimension: no norms, no biases."""
    return jax.tree.map(lambda param: param.ndim > 1, params)


def decays_not_norms(params: PyTree) -> PyTree:
    """Selects all parameters except the scales and biases of norms."""
    if not isinstance(params, dict):
        return True
    is_norm = "scale" in params
    return {
        name: False if is_norm and not isinstance(part, dict) else decays_not_norms(part)
        for name, part in params.items()
    }


def depths(params: PyTree) -> PyTree:
    """Numbers the parameters by the part of the network: 0 the stem, 1 the first stage, and so on.

    The head, and the norm before it if there is one, come last.
    """
    last = len(params["stages"]) + 1

    def depth(path: tuple[Any, ...], _: Any) -> int:
        match [entry.key for entry in path[:2]]:
            case ["stem", *_]:
                return 0
            case ["stages", stage]:
                return int(stage) + 1
        return last

    return jax.tree_util.tree_map_with_path(depth, params)


def is_hidden_matrix(params: PyTree) -> PyTree:
    """Selects the matrices and kernels before the head, which Muon orthogonalises."""
    last = len(params["stages"]) + 1
    places = depths(params)
    return jax.tree.map(lambda param, depth: param.ndim > 1 and depth < last, params, places)


_MASKS: dict[str, Callable[[PyTree], PyTree] | None] = {
    "all": None,
    "not_norms": decays_not_norms,
    "matrices": decays_matrices,
}


def _decay(config: OptimizerConfig) -> list[optax.GradientTransformation]:
    if not config.weight_decay:
        return []
    return [optax.add_decayed_weights(config.weight_decay, mask=_MASKS[config.decay_on])]


def _rule(config: OptimizerConfig) -> optax.GradientTransformation:
    first, second = config.betas or ((0.9, 0.99) if config.name == "lion" else (0.9, 0.999))
    epsilon = config.epsilon or (1e-6 if config.name == "lamb" else 1e-8)
    match config.name:
        case "adamw" | "lamb":
            return optax.scale_by_adam(b1=first, b2=second, eps=epsilon)
        case "lion":
            return optax.scale_by_lion(b1=first, b2=second)
        case "muon":
            return _muon(config, first, second, epsilon)
        case _:
            return _momentum(config)


def _momentum(config: OptimizerConfig) -> optax.GradientTransformation:
    if not config.momentum:
        return optax.identity()
    return optax.trace(decay=config.momentum, nesterov=config.nesterov)


def _muon(
    config: OptimizerConfig, first: float, second: float, epsilon: float
) -> optax.GradientTransformation:
    """Orthogonalises the kernels as [fan-in, fan-out] matrices; Adam updates the rest."""

    def dimensions(params: PyTree) -> PyTree:
        def of(param: jax.Array, chosen: bool) -> contrib.MuonDimensionNumbers | None:
            last = param.ndim - 1
            return contrib.MuonDimensionNumbers(tuple(range(last)), last) if chosen else None

        return jax.tree.map(of, params, is_hidden_matrix(params))

    rule = contrib.muon(
        1.0,
        beta=config.momentum,
        eps=epsilon,
        adam_b1=first,
        adam_b2=second,
        muon_weight_dimension_numbers=dimensions,
        consistent_rms=_MUON_RMS,
    )
    # The rule already negates its updates; in this chain the learning rate does that.
    return optax.chain(rule, optax.scale(-1.0))


def _trust_ratio(config: OptimizerConfig) -> optax.GradientTransformation:
    coefficient = config.trust_coefficient if config.name == "lars" else 1.0
    ratio = optax.scale_by_trust_ratio(trust_coefficient=coefficient)
    mask = _MASKS[config.decay_on]
    return ratio if mask is None else optax.masked(ratio, mask)


def _stage_factors(finetune: FinetuneConfig | None) -> list[optax.GradientTransformation]:
    """Lowers the learning rate from each stage to the one before it."""
    if finetune is None or finetune.rate_decay == 1:
        return []
    decay = finetune.rate_decay

    def scale(updates: PyTree, params: PyTree) -> PyTree:
        del params
        places = depths(updates)
        last = max(jax.tree.leaves(places))
        return jax.tree.map(lambda update, d: update * decay ** (last - d), updates, places)

    return [optax.stateless(scale)]

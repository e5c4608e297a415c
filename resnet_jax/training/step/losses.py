"""Losses with one value per example, always in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from resnet_jax.training.recipe.config import TrainConfig

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""Maps logits [batch, classes] and labels [batch] or targets [batch, classes] to [batch]."""


def make_loss(config: TrainConfig) -> Loss:
    """Returns the training loss of a recipe, with its label smoothing."""
    smoothing = config.label_smoothing
    if config.loss == "bce":
        return functools.partial(
            binary_cross_entropy, label_smoothing=smoothing, threshold=config.bce_threshold
        )
    return functools.partial(cross_entropy, label_smoothing=smoothing)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Computes the cross-entropy of labels, or of soft targets.

    Args:
        logits: [batch, classes], of any float type.
        targets: [batch] integers, or [batch, classes] shares that sum to 1.
        label_smoothing: Share of the target that is spread evenly over all classes, including the
            correct one.

    Returns:
        [batch], float32 (float64 for float64 logits).

    References:
        Szegedy et al., Rethinking the Inception Architecture for Computer Vision, section 7.
    """
    log_probabilities = jax.nn.log_softmax(_at_least_float32(logits))
    if targets.ndim == 1:
        right = jnp.take_along_axis(log_probabilities, targets[:, None], axis=-1)[:, 0]
    else:
        right = (targets * log_probabilities).sum(axis=-1)
    return -(1 - label_smoothing) * right - label_smoothing * log_probabilities.mean(axis=-1)


def binary_cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    *,
    label_smoothing: float = 0.0,
    threshold: float | None = None,
) -> jax.Array:
    """Computes the binary cross-entropy of each class, averaged over the classes.

    Args:
        logits: [batch, classes], of any float type.
        targets: [batch] integers, or [batch, classes] shares.
        label_smoothing: As for `cross_entropy`.
        threshold: Smoothed shares above it become 1 and the others 0; None keeps them.

    Returns:
        [batch], float32 (float64 for float64 logits).

    References:
        Wightman et al., ResNet Strikes Back, section 3.1.
    """
    logits = _at_least_float32(logits)
    if targets.ndim == 1:
        targets = jax.nn.one_hot(targets, logits.shape[-1], dtype=logits.dtype)
    targets = (1 - label_smoothing) * targets + label_smoothing / logits.shape[-1]
    if threshold is not None:
        targets = (targets > threshold).astype(logits.dtype)
    present, absent = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return -(targets * present + (1 - targets) * absent).mean(axis=-1)


def _at_least_float32(logits: jax.Array) -> jax.Array:
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

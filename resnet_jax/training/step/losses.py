"""Losses with one value per example, always in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""Maps logits [batch, classes] and labels [batch] or targets [batch, classes] to [batch]."""


def make_loss(config: TrainConfig) -> Loss:
    """Returns the training loss of a recipe, with its label smoothing and the weights of classes.

    The loss of a batch is the mean of its values, times `scale_of_batch`.
    """
    loss = config.loss
    smoothing, weights = loss.label_smoothing, class_weights(config)
    if loss.name == "bce":
        return functools.partial(
            binary_cross_entropy,
            label_smoothing=smoothing,
            threshold=loss.bce_threshold,
            class_weights=weights,
        )
    return functools.partial(cross_entropy, label_smoothing=smoothing, class_weights=weights)


def class_weights(config: TrainConfig) -> tuple[float, ...] | None:
    """Returns the weights of a recipe's classes, in their order.

    Raises:
        ConfigError: They are to be taken from a dataset, and none has been opened.
    """
    weights = config.loss.class_weights
    if isinstance(weights, (str, dict)):
        raise ConfigError(
            f"loss.class_weights={weights!r} is worked out from the dataset; where there is none, "
            "give numbers"
        )
    return weights


def scale_of_batch(config: TrainConfig, targets: jax.Array) -> jax.Array | None:
    """Returns what the mean of a batch's losses is multiplied by; None for 1.

    As in PyTorch, weighted cross-entropy is divided by the sum of the weights of the labels, and by
    the number of examples where the targets are shares, as with mixup. The sum is that of the whole
    batch, whatever devices and parts it is divided over.

    Args:
        config: The run.
        targets: [batch] integers, or [batch, classes] shares.
    """
    weights = class_weights(config)
    if weights is None or config.loss.name == "bce" or targets.ndim > 1:
        return None
    return 1 / jnp.asarray(weights)[targets].mean()


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> jax.Array:
    """Computes the cross-entropy of labels, or of soft targets.

    Args:
        logits: [batch, classes], of any float type.
        targets: [batch] integers, or [batch, classes] shares that sum to 1.
        label_smoothing: Share of the target that is spread evenly over all classes, including the
            correct one.
        class_weights: What the logarithm of each class's probability is multiplied by, including
            those that label smoothing adds; None for 1.

    Returns:
        [batch], float32 (float64 for float64 logits).

    References:
        Szegedy et al., Rethinking the Inception Architecture for Computer Vision, section 7.
    """
    log_probabilities = jax.nn.log_softmax(_at_least_float32(logits))
    if class_weights is not None:
        log_probabilities *= jnp.asarray(class_weights, log_probabilities.dtype)
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
    class_weights: Sequence[float] | None = None,
) -> jax.Array:
    """Computes the binary cross-entropy of each class, averaged over the classes.

    Args:
        logits: [batch, classes], of any float type.
        targets: [batch] integers, or [batch, classes] shares.
        label_smoothing: As for `cross_entropy`.
        threshold: Smoothed shares above it become 1 and the others 0; None keeps them.
        class_weights: What the term of each class is multiplied by; None for 1.

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
    terms = targets * present + (1 - targets) * absent
    if class_weights is not None:
        terms *= jnp.asarray(class_weights, terms.dtype)
    return -terms.mean(axis=-1)


def _at_least_float32(logits: jax.Array) -> jax.Array:
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

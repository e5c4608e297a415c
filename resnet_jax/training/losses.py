"""Losses, one value an example, always in float32."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """Computes the cross-entropy of integer labels.

    Args:
        logits: [batch, classes], of any float type.
        labels: [batch] integers.
        label_smoothing: Share of the target that is spread evenly over all classes, the right one
            included.

    Returns:
        [batch] float32.

    References:
        Szegedy et al., Rethinking the Inception Architecture for Computer Vision, section 7.
    """
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    right = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]
    return -(1 - label_smoothing) * right - label_smoothing * log_probabilities.mean(axis=-1)

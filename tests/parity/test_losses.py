"""Losses with weights of classes, as PyTorch computes and averages them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.recipe.config import (
    LossConfig,
    TrainConfig,
)
from resnet_jax.training.step.losses import make_loss, scale_of_batch

WEIGHTS = (0.5, 2.0, 1.0, 4.0, 0.25)


def mean_loss(config, logits, targets):
    """The loss of a batch as the training step computes it, and its gradient by the logits."""

    def mean(logits):
        scale = scale_of_batch(config, targets)
        value = make_loss(config)(logits, targets).mean()
        return value if scale is None else value * scale

    return jax.value_and_grad(mean)(logits)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("targets", ["labels", "shares"])
@pytest.mark.parametrize("name", ["cross_entropy", "bce"])
def test_losses_and_their_gradients_are_pytorchs(torch, name, targets, smoothing, weights):
    config = TrainConfig(loss=LossConfig(name, label_smoothing=smoothing, class_weights=weights))
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8, 5))
    labels = rng.integers(0, 5, 8)
    shares = rng.dirichlet(np.ones(5), 8)
    theirs = torch.tensor(logits, requires_grad=True)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    if name == "bce":
        classes = np.eye(5)[labels] if targets == "labels" else shares
        loss = torch.nn.BCEWithLogitsLoss(weight=weight)
        expected = loss(theirs, torch.tensor((1 - smoothing) * classes + smoothing / 5))
    else:
        loss = torch.nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
        expected = loss(theirs, torch.tensor(labels if targets == "labels" else shares))
    expected.backward()
    with jax.enable_x64(True):
        chosen = jnp.asarray(labels if targets == "labels" else shares)
        value, gradient = mean_loss(config, jnp.asarray(logits), chosen)
    # In float64; the order of sums leaves 1e-15.
    np.testing.assert_allclose(value, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-11, atol=1e-15)

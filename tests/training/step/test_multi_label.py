"""Metrics of images with several classes, as scikit-learn computes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, log_loss

from resnet_jax.blocks import identity
from resnet_jax.data.config import AugmentConfig
from resnet_jax.data.on_device.mixing import build_mix
from resnet_jax.training.step.multi_label import (
    Scores,
    average_precisions,
    multi_label_sums,
    split_seen,
)


@pytest.fixture
def drawn():
    """Logits with ties and labels, of which each class has some."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(64, 5)).round(1).astype(np.float32)
    labels = rng.random((64, 5)) < [0.5, 0.3, 0.1, 0.02, 0.9]
    labels[0] = True
    return logits, labels


def evaluated(logits, labels, *, batch):
    """Sums batches of which the last is filled up with rows that do not count."""
    scores, total = Scores(), {}
    for first in range(0, len(logits), batch):
        rows = np.arange(first, first + batch)
        inside = rows < len(logits)
        rows = rows.clip(max=len(logits) - 1)
        own = {"logits": logits[rows], "labels": labels[rows], "mask": inside}
        own["logits"] = np.where(inside[:, None], own["logits"], np.nan)
        sums, seen = split_seen(multi_label_sums(*map(jnp.asarray, own.values())) | own)
        scores.add(seen)
        total = {name: total.get(name, 0) + np.asarray(value) for name, value in sums.items()}
    return scores.result(total, expected=len(logits))


@pytest.mark.parametrize("batch", [64, 24, 7])
def test_metrics_are_those_of_scikit_learn(drawn, batch):
    logits, labels = drawn
    result = evaluated(logits, labels, batch=batch)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    predicted = probabilities >= 0.5
    precisions = average_precision_score(labels, probabilities, average=None)
    np.testing.assert_allclose(result.average_precision, precisions, rtol=1e-12)
    assert result.mean_average_precision == pytest.approx(precisions.mean(), rel=1e-12)
    np.testing.assert_allclose(result.f1, f1_score(labels, predicted, average=None), rtol=1e-12)
    for kind, value in (("micro", result.f1_micro), ("macro", result.f1_macro)):
        assert value == pytest.approx(f1_score(labels, predicted, average=kind), rel=1e-12)
    losses = [log_loss(*columns) for columns in zip(labels.T, probabilities.T, strict=True)]
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-6)  # in float32
    assert (result.count, result.expected) == (64, 64)


def test_a_class_that_no_image_has_does_not_count_in_the_mean(drawn):
    logits, labels = drawn
    labels[:, 2] = False
    result = evaluated(logits, labels, batch=64)
    assert result.average_precision[2] is None
    others = [value for value in result.average_precision if value is not None]
    assert result.mean_average_precision == pytest.approx(np.mean(others))
    assert result.f1[2] == 0
    assert average_precisions(np.zeros((3, 1)), np.array([[1], [0], [1]], bool)) == [2 / 3]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_several_labels_are_mixed_as_their_images_are(kind):
    labels = jnp.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    # Each image is the label of a single class, everywhere.
    images = jnp.broadcast_to(labels[:, None, None, :], (4, 16, 16, 3)).astype(jnp.float32)
    build = functools.partial(build_mix, num_classes=3, normalize=identity)
    mix = jax.jit(build(AugmentConfig(**{kind: 1.0})))
    mixed, targets = mix(jax.random.key(1), images, labels)
    assert targets.dtype == jnp.float32
    assert not np.isin(targets, (0, 1)).all()
    np.testing.assert_allclose(mixed.mean(axis=(1, 2)), targets, atol=1e-5)
    plain = build(AugmentConfig())
    assert plain(jax.random.key(1), images, labels)[1] is labels

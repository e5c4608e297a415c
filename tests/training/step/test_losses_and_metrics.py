import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.recipe.config import (
    LossConfig,
    TrainConfig,
)
from resnet_jax.training.step.losses import binary_cross_entropy, cross_entropy, make_loss
from resnet_jax.training.step.metrics import Totals, evaluation_sums, ratio


def test_cross_entropy_of_equal_logits_is_log_of_the_classes():
    loss = cross_entropy(jnp.zeros((2, 10), jnp.bfloat16), jnp.array([3, 7]))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, math.log(10), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_the_cross_entropy_of_a_mixed_target(smoothing):
    logits = np.array([[2.0, -1.0, 0.5, 0.0]])
    log_p = logits - np.log(np.exp(logits).sum())
    target = np.full(4, smoothing / 4)
    target[2] += 1 - smoothing
    loss = cross_entropy(jnp.asarray(logits), jnp.array([2]), label_smoothing=smoothing)
    np.testing.assert_allclose(loss, [-(target * log_p).sum()], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_are_soft_targets_with_one_class(smoothing):
    logits = jax.random.normal(jax.random.key(0), (4, 10))
    labels = jnp.array([0, 3, 9, 3])
    for loss in (cross_entropy, binary_cross_entropy):
        hard = loss(logits, labels, label_smoothing=smoothing)
        soft = loss(logits, jax.nn.one_hot(labels, 10), label_smoothing=smoothing)
        assert (hard.shape, hard.dtype) == ((4,), jnp.float32)
        np.testing.assert_allclose(hard, soft, rtol=1e-6)


def test_soft_targets_weigh_the_losses_of_their_classes():
    logits = jax.random.normal(jax.random.key(0), (1, 10))
    targets = 0.3 * jax.nn.one_hot(jnp.array([2]), 10) + 0.7 * jax.nn.one_hot(jnp.array([5]), 10)
    expected = 0.3 * cross_entropy(logits, jnp.array([2])) + 0.7 * cross_entropy(
        logits, jnp.array([5])
    )
    np.testing.assert_allclose(cross_entropy(logits, targets), expected, rtol=1e-6)


def test_binary_cross_entropy_is_the_mean_of_its_questions():
    logits = jnp.array([[2.0, -1.0, 0.0, 0.5]])
    targets = jnp.array([[0.75, 0.25, 0.0, 0.0]])
    p = 1 / (1 + np.exp(-np.asarray(logits)))
    smooth = 0.9 * np.asarray(targets) + 0.1 / 4
    expected = -(smooth * np.log(p) + (1 - smooth) * np.log(1 - p)).mean(axis=-1)
    found = binary_cross_entropy(logits, targets, label_smoothing=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    hard = np.array([[1.0, 1.0, 0.0, 0.0]])
    expected = -(hard * np.log(p) + (1 - hard) * np.log(1 - p)).mean(axis=-1)
    found = binary_cross_entropy(logits, targets, label_smoothing=0.1, threshold=0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_extreme_logits_give_finite_losses_and_gradients():
    logits = jnp.array([[1e4, -1e4, 0.0]])
    for name in ("cross_entropy", "bce"):
        loss = make_loss(TrainConfig(loss=LossConfig(name, label_smoothing=0.1)))
        value, gradient = jax.value_and_grad(lambda x, f=loss: f(x, jnp.array([1])).sum())(logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_a_recipe_picks_its_loss():
    logits, labels = jnp.array([[1.0, 0.0]]), jnp.array([0])
    for name, loss in (("cross_entropy", cross_entropy), ("bce", binary_cross_entropy)):
        made = make_loss(TrainConfig(loss=LossConfig(name, label_smoothing=0.2)))(logits, labels)
        np.testing.assert_array_equal(made, loss(logits, labels, label_smoothing=0.2))


def test_evaluation_counts_only_what_the_mask_keeps():
    logits = jnp.eye(10)[jnp.array([0, 1, 2, 3])] * 5
    sums = evaluation_sums(logits, jnp.array([0, 1, 9, 3]), jnp.array([True, True, True, False]))
    assert (int(sums["top1"]), int(sums["count"])) == (2, 3)
    # Equal logits rank by index: class 9 is last.
    assert int(sums["top5"]) == 2
    right, wrong = -math.log(math.e**5 / (math.e**5 + 9)), math.log(math.e**5 + 9)
    np.testing.assert_allclose(sums["loss"], 2 * right + wrong, rtol=1e-6)


def test_a_masked_row_of_nan_does_not_reach_the_loss():
    logits = jnp.array([[1.0, 0.0], [jnp.nan, jnp.nan]])
    sums = evaluation_sums(logits, jnp.array([0, 0]), jnp.array([True, False]))
    assert np.isfinite(sums["loss"])


def test_totals_divide_last_and_continue_from_a_saved_start():
    totals = Totals({"loss": 1.0, "count": 1})
    totals.add({"loss": jnp.float32(5.0), "count": jnp.int32(2)})
    totals.add({"loss": jnp.float32(0.0), "count": jnp.int32(1)})
    assert ratio(totals.fetch(), "loss") == pytest.approx(6 / 4)
    assert ratio({"loss": 0.0, "count": 0}, "loss") is None

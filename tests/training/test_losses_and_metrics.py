import math

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.training.losses import cross_entropy
from resnet_jax.training.metrics import Totals, evaluation_sums, ratio


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

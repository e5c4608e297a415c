import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.inference import measures
from resnet_jax.inference.measures import ClassAccuracy, Measures, calibration_error

batch_sums = jax.jit(measures.batch_sums)


def guo(probabilities, labels, bins=15):
    """The calibration error as the paper writes it, one example after the other."""
    error = 0.0
    for number in range(bins):
        inside = [
            (row.argmax() == label, row.max())
            for row, label in zip(probabilities, labels, strict=True)
            if number / bins < row.max() <= (number + 1) / bins
        ]
        if inside:
            right, confidence = np.mean(inside, axis=0)
            error += len(inside) / len(labels) * abs(right - confidence)
    return error


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_calibration_error_is_that_of_the_paper(spread):
    rng = np.random.default_rng(0)
    logits = spread * rng.normal(size=(200, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 200)
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    sums = batch_sums(jnp.asarray(logits), jnp.asarray(labels), jnp.ones(200, bool))
    assert calibration_error(sums) == pytest.approx(guo(probabilities, labels), abs=1e-6)


def test_certain_and_right_is_perfect_and_certain_and_wrong_the_opposite():
    logits = 100 * jnp.eye(3)
    right = batch_sums(logits, jnp.arange(3), jnp.ones(3, bool))
    wrong = batch_sums(logits, (jnp.arange(3) + 1) % 3, jnp.ones(3, bool))
    assert (calibration_error(right), calibration_error(wrong)) == (0.0, 1.0)


def test_masked_examples_count_nowhere():
    logits = jnp.array([[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.0], [3.0, 0, 0]])
    sums = batch_sums(logits, jnp.array([0, 1, 1, 0]), jnp.array([True, True, True, False]))
    assert sums["class_count"].tolist() == [1, 2, 0]
    assert sums["class_top1"].tolist() == [1, 1, 0]
    assert int(sums["bin_count"].sum()) == int(sums["count"]) == 3
    confidence = math.exp(3) / (math.exp(3) + 2)
    np.testing.assert_allclose(sums["bin_confidence"].sum(), 3 * confidence, rtol=1e-6)


def test_measures_are_json_even_where_the_loss_is_not_finite():
    result = Measures(
        model="m",
        data="d",
        split="test",
        count=4,
        expected=5,
        top1=1,
        top5=3,
        loss=math.nan,
        calibration_error=0.25,
        classes=(ClassAccuracy("a", 4, 1), ClassAccuracy("b", 0, 0)),
    )
    values = json.loads(result.to_json())
    assert (values["accuracy"], values["top5_accuracy"], values["loss"]) == (0.25, 0.75, None)
    assert values["classes"][0] == {"name": "a", "count": 4, "top1": 1, "accuracy": 0.25}
    assert values["classes"][1]["accuracy"] is None

import dataclasses

import numpy as np
import pytest

from resnet_jax.data.sources import open_split
from resnet_jax.errors import ConfigError
from resnet_jax.report.findings import examine


@pytest.mark.parametrize("batch_size", [3, 64])
def test_confusions_and_mistakes_do_not_depend_on_the_batch(trained, batch_size):
    findings = examine(trained, mistakes=9, batch_size=batch_size)
    assert findings.confusion.tolist() == [[4, 0, 0], [0, 3, 1], [1, 0, 1]]
    measures = findings.measures
    assert (measures.count, measures.top1, measures.step) == (10, 8, 40)
    assert [(entry.count, entry.top1) for entry in measures.classes] == [(4, 4), (4, 3), (2, 1)]
    assert findings.confused_pairs(5) == [("green", "red", 1, 4), ("red", "blue", 1, 2)]
    assert findings.confused_pairs(1) == [("green", "red", 1, 4)]
    worst, next_worst = findings.mistakes
    assert (worst.label, worst.predicted) == (2, 0)
    assert (next_worst.label, next_worst.predicted) == (1, 2)
    source = open_split(trained.data.name, "test")
    for mistake in findings.mistakes:
        assert source[mistake.index]["label"] == mistake.label
        np.testing.assert_array_equal(source[mistake.index]["image"], mistake.image)
    assert worst.label_probability < next_worst.label_probability < next_worst.probability


def test_only_the_worst_are_kept(trained):
    assert [mistake.label for mistake in examine(trained, mistakes=1).mistakes] == [2]
    assert examine(trained, mistakes=0).mistakes == ()


def test_only_runs_can_be_examined(trained):
    with pytest.raises(ConfigError, match="largest is not a run"):
        examine(dataclasses.replace(trained, data=None), mistakes=9)
    with pytest.raises(ConfigError, match="tset"):
        examine(trained, split="tset", mistakes=9)

"""Classifiers that only one side has, or that are not wanted."""

import chex
import jax
import numpy as np
import pytest

from resnet_jax.models import Backbone
from resnet_jax.weights import WeightsError, load_torch, to_torch
from tests.weights.namings import NETWORKS, akamaster_names, rename, two_layers_for_a_head, values

# Networks for CIFAR have no projections: only the classifier tells one naming from another.
HEADS = {
    "akamaster": ("cifar", akamaster_names),
    "akamaster_plain": ("plain", akamaster_names),
    "akamaster_layers": ("cifar", lambda weights: two_layers_for_a_head(akamaster_names(weights))),
    "classifier": ("cifar", lambda weights: rename(weights, {"fc.": "classifier."})),
    "head_fc": ("bottleneck", lambda weights: rename(weights, {"fc.": "head.fc."})),
}


@pytest.mark.parametrize("naming", HEADS)
def test_a_classifier_that_is_not_wanted_is_ignored_in_any_naming(naming, network):
    kind, renamed = HEADS[naming]
    source = network(seed=1, **NETWORKS[kind])
    weights = renamed(to_torch(source))
    headless = network(seed=2, **NETWORKS[kind], num_classes=0)
    load_torch(headless, weights, new_head=True)
    expected = {key: value for key, value in values(source).items() if key != "head"}
    chex.assert_trees_all_equal(values(headless), expected)
    backbone = Backbone(network(seed=2, **NETWORKS[kind]))
    load_torch(backbone, weights)
    chex.assert_trees_all_equal(values(backbone), values(Backbone(source)))
    finetuned = network(seed=2, **NETWORKS[kind], num_classes=7)
    head = jax.tree.map(np.array, values(finetuned)["head"])
    load_torch(finetuned, weights, new_head=True)
    chex.assert_trees_all_equal(values(finetuned), {**expected, "head": head})


@pytest.mark.parametrize(
    ("held", "wanted", "message"),
    [
        (5, 0, r"2 unexpected: \S+ \S+\. new_head=True ignores the classifier of the source\.$"),
        (0, 5, r"2 missing: \S+ \S+\. new_head=True keeps the classifier as it was initialised\.$"),
    ],
)
@pytest.mark.parametrize("fields", [{}, NETWORKS["preactivation"]], ids=["resnet", "resnetv2"])
def test_a_classifier_of_one_side_only_has_a_remedy(held, wanted, message, fields, network):
    model, weights = network(num_classes=wanted, **fields), network(num_classes=held, **fields)
    with pytest.raises(WeightsError, match=message):
        load_torch(model, to_torch(weights))
    load_torch(model, to_torch(weights), new_head=True)

"""The lists of networks and weights, and the stored table of what networks cost."""

import math
import subprocess
import sys

import jax
import pytest
from flax import nnx

from benchmarks.catalogue import counted
from resnet_jax import ConfigError, ResNet, list_models, list_pretrained, model_config
from resnet_jax.zoo import describe, pretrained_info, pretrained_tags
from resnet_jax.zoo.catalogue import stored_costs
from resnet_jax.zoo.rows import TABLE
from resnet_jax.zoo.tags import TAGS


def test_the_stored_table_has_every_network():
    assert list(stored_costs()) == list(TABLE), "run python -m benchmarks.catalogue"
    assert set(TAGS) <= set(TABLE)


def check_counts(name):
    assert counted(name) == stored_costs()[name], "run python -m benchmarks.catalogue"


@pytest.mark.parametrize("name", ["resnet8", "preact_resnet110", "resnet14t", "test_resnet"])
def test_stored_costs_are_those_counted(name):
    check_counts(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_every_stored_cost_is_the_one_counted(name):
    check_counts(name)


@pytest.mark.parametrize("name", ["resnet14t", "resnetv2_18d", "test_resnet"])
def test_stored_parameters_are_those_of_the_whole_network(name):
    model = nnx.eval_shape(lambda: ResNet(model_config(name), rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert describe(name).parameters == sum(math.prod(leaf.shape) for leaf in leaves)


@pytest.mark.parametrize(
    ("filter", "settings", "names"),
    [
        ("preact_*", {}, ["preact_resnet110", "preact_resnet164", "preact_resnet1001"]),
        (["resnet??c", "resnet20"], {}, ["resnet50c", "resnet20"]),
        (("resnet18*", "resnet34*"), {"exclude_filters": "*d"}, ["resnet18", "resnet34"]),
        ("resnet??", {"exclude_filters": ["*5*", "*[248]"]}, ["resnet26", "resnet20"]),
        (["resnet20", "resnet18"], {"pretrained": True}, ["resnet18"]),
        ("resnet200", {"pretrained": True}, []),  # described, and its weights never published
        ("*.fb_ssl_*", {"exclude_filters": "resnext*"}, ["resnet18", "resnet50"]),
        ("resnet18", {"exclude_filters": "*.tv_in1k"}, ["resnet18"]),  # it has others
        (
            ["resnet20", "resnet26"],
            {"include_tags": True},
            ["resnet26.bt_in1k", "resnet20"],
        ),
    ],
)
def test_list_models(filter, settings, names):  # noqa: A002
    assert list_models(filter, **settings) == names


@pytest.mark.parametrize("everything", ["", "*", [], ["*"], iter(["*"])])
def test_no_filter_lists_everything_once(everything):
    assert list_models(everything) == list(TABLE)
    assert len(TABLE) == 120


def test_list_pretrained_has_all_published_weights():
    everything = list_pretrained()
    assert [pretrained_info(name).hub_id for name in everything] == [
        f"timm/{name}" for name in everything
    ]
    published = [name for name in TABLE if pretrained_tags(name) not in ([], ["untrained"])]
    assert list(dict.fromkeys(name.partition(".")[0] for name in everything)) == published
    assert list_models(pretrained=True) == published
    assert list_pretrained("resnet34") == [f"resnet34.{tag}" for tag in pretrained_tags("resnet34")]
    assert list_pretrained(["resnet50", "resnet18d"], exclude_filters=["*.*_in1k"]) == [
        "resnet50.bamboo"
    ]


def test_an_unknown_name_has_no_description():
    with pytest.raises(ConfigError, match=r"no model 'resnet5'\. Did you mean .*'resnet56'"):
        describe("resnet5")


def test_lists_and_costs_import_neither_jax_nor_flax():
    program = """
import sys
import resnet_jax
resnet_jax.list_models(), resnet_jax.list_pretrained()
from resnet_jax.cli import main
try:
    main(["models"])
except SystemExit as end:
    assert end.code == 0
print(sorted({name.partition(".")[0] for name in sys.modules} & {"jax", "flax", "numpy"}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    *table, heavy = result.stdout.splitlines()
    assert len(table) == 1 + len(TABLE)
    assert heavy == "[]"

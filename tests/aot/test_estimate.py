"""Floors, sizes of images and the command, for which nothing is compiled."""

import importlib.util

import pytest
from flax import nnx

from resnet_jax.aot.chips import CHIPS
from resnet_jax.aot.estimate import recipe_image_size, without_data
from resnet_jax.aot.floor import floor_of
from resnet_jax.aot.topology import describe_topology
from resnet_jax.cli import main
from resnet_jax.errors import ConfigError
from resnet_jax.models import ResNet
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.zoo import model_config


def floor(name, size):
    return floor_of(nnx.eval_shape(lambda: ResNet(model_config(name), rngs=nnx.Rngs(0))), size=size)


def test_the_floor_of_resnet50():
    found = floor("resnet50", 224)
    assert found.convolutions == 53
    in_millions = [round(count / 1e6, 2) for count in (found.inputs, found.outputs, found.sums)]
    assert in_millions == [10.66, 11.11, 5.52]
    # 256 images in bfloat16, in GB
    parts = (found.forward, found.backward, found.block_sums, found.training)
    assert [round(2 * 256 * count / 1e9, 1) for count in parts] == [11.1, 39.1, 8.5, 58.8]
    assert round(2 * 256 * found.training_in_one_pass / 1e9, 1) == 47.4


@pytest.mark.parametrize(
    ("name", "size", "convolutions"),
    [("resnet20", 32, 19), ("resnet18", 64, 20), ("resnext50_32x4d", 64, 53)],
)
def test_the_floor_counts_each_convolution(name, size, convolutions):
    found = floor(name, size)
    assert found.convolutions == convolutions
    assert found.training > found.forward > found.sums > 0


@pytest.mark.parametrize(
    ("recipe", "size", "sizes"),
    [
        ("configs/imagenet_resnet50.py", 224, (1000, 3)),
        ("configs/imagenet_rsb.py:a3", 160, (1000, 3)),
        ("configs/cifar10_he2015.py", 32, (10, 3)),
    ],
)
def test_what_a_dataset_would_tell_comes_from_the_network(recipe, size, sizes):
    config = without_data(load_recipe(recipe))
    assert recipe_image_size(config) == size
    assert config.model.sizes() == sizes


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v5:2x2", "unknown chip 'v5'. Did you mean 'v5"),
        ("H100", "unknown chip 'H100'"),
        ("h200:2x2", "after the colon comes a number of GPUs: h200:8"),
        ("h200:0", "after the colon comes a number of GPUs"),
        ("h200:", "after the colon comes a number of GPUs"),
    ],
)
def test_topologies_that_do_not_exist(topology, message):
    with pytest.raises(ConfigError) as caught:
        describe_topology(topology)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("module", "topology", "extra"),
    [("libtpu", "v5e:2x2", "aot"), ("jax_cuda12_plugin", "h200", "cuda")],
)
def test_a_missing_compiler_is_named_with_what_installs_it(capsys, module, topology, extra):
    if importlib.util.find_spec(module):
        pytest.skip(f"{module} is installed")
    with pytest.raises(SystemExit) as left:
        main(["compile", f"--topology={topology}"])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"pip install 'resnet-jax[{extra}]'" in error


def test_float32_is_half_as_fast_on_gpus_and_no_slower_on_tpus():
    slower = {name: chip.flops / chip.operations("float32") for name, chip in CHIPS.items()}
    assert slower == {name: 2 if chip.platform == "cuda" else 1 for name, chip in CHIPS.items()}
    assert all(chip.operations("bfloat16") == chip.flops for chip in CHIPS.values())


def test_every_chip_says_what_it_has():
    for chip in CHIPS.values():
        # Any of them balances bytes and operations within 50 and 1,000 operations a byte.
        assert 50 < chip.flops / chip.bandwidth < 1000
        assert 10e9 < chip.memory < 200e9
        assert bool(chip.target) == (chip.platform == "cuda")

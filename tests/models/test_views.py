import dataclasses

import pytest
from flax import nnx

from resnet_jax import Bottleneck, ResNet, create_model, model_config
from resnet_jax.models.tables import NORMS

MODES = {"BatchNorm": "use_running_average", "DropPath": "deterministic"}


def arguments(info):
    """Maps each module of what `nnx.view_info` returns to the text on its arguments."""
    texts, module = {}, ""
    for line in info.splitlines():
        if line.startswith(" "):
            texts[module] += line + "\n"
        else:
            module = line.rstrip(":")
            texts[module] = ""
    return texts


@pytest.mark.parametrize("norm", NORMS)
def test_view_info_describes_every_mode(norm):
    config = dataclasses.replace(model_config("resnetv2_18"), norm=norm)
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    modes = MODES | {"Dropout": "deterministic"}
    if norm != "batch":
        del modes["BatchNorm"]
    found = arguments(nnx.view_info(model))
    assert found.keys() == modes.keys()
    for module, mode in modes.items():
        assert found[module].startswith(f"  {mode}: bool | None = None\n    ")
        assert "changes nothing." in found[module]


@pytest.mark.parametrize(
    "build",
    [
        lambda: Bottleneck(8, 8, rngs=nnx.Rngs(0)),
        lambda: create_model("resnet8", features_only=True),
    ],
)
def test_view_info_of_blocks_and_backbones(build):
    assert arguments(nnx.view_info(nnx.eval_shape(build))).keys() == MODES.keys()

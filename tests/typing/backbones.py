"""Builds networks and backbones, where the type depends on an argument."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_jax import (
    Backbone,
    ResNet,
    ResNetConfig,
    create_model,
    grow,
    load,
    load_torch,
    save,
    to_torch,
)


def backbone(name: str, pretrained: bool | str | pathlib.Path = False) -> Backbone:
    """Builds a backbone."""
    return create_model(name, pretrained=pretrained, features_only=True, out_indices=(1, -1))


def network(name: str | ResNetConfig, rngs: nnx.Rngs | None = None) -> ResNet:
    """Builds a network."""
    return create_model(name, num_classes=3, dtype=jnp.bfloat16, rngs=rngs)


def either(name: str, *, features_only: bool) -> ResNet | Backbone:
    """Leaves the choice to a variable."""
    return create_model(name, features_only=features_only)


def channels(model: ResNet | Backbone) -> list[int]:
    """Reads what both have."""
    return [info.features for info in model.feature_info]


def shapes(model: Backbone, images: jax.Array) -> list[tuple[int, ...]]:
    """Reads the maps of a backbone."""
    maps: list[jax.Array] = model(images)
    return [map_.shape for map_ in maps]


def deep(model: ResNet, images: jax.Array) -> list[jax.Array]:
    """Reads the last maps of a network, without and with its output."""
    last, maps = model.forward_intermediates(images, 2)
    logits: jax.Array = model.forward_head(last)
    return [logits, *maps, *model.forward_intermediates(images, 1, intermediates_only=True)]


def kept(path: pathlib.Path, model: ResNet | Backbone) -> tuple[ResNet, Backbone]:
    """Reads a file as a network and as a backbone."""
    save(model, path)
    return load(path), load(path, features_only=True)


def main() -> None:
    """Runs each function once."""
    maps = jax.eval_shape(lambda x: backbone("resnet8")(x), jnp.ones((2, 32, 32, 3)))
    assert [map_.shape for map_ in maps] == [(2, 32, 32, 16), (2, 8, 8, 64)]
    assert channels(either("resnet8", features_only=True)) == [16, 16, 32, 64]
    model = either("resnet8", features_only=False)
    assert isinstance(model, ResNet)
    assert len(grow(model, (2, 2, 2), rngs=nnx.Rngs(0)).stages[0]) == 2
    assert len(deep(model, jnp.ones((1, 8, 8, 3)))) == 4
    with tempfile.TemporaryDirectory() as folder:
        assert channels(kept(pathlib.Path(folder, "x.safetensors"), model)[1]) == [16, 16, 32, 64]
    weights: dict[str, np.ndarray] = to_torch(network("resnet8"))
    load_torch(network("resnet8", nnx.Rngs(1)), weights)
    other = create_model("resnet8", features_only=True, out_indices=np.array([1, 2]))
    assert shapes(other, jnp.ones((1, 8, 8, 3))) == [(1, 8, 8, 16), (1, 4, 4, 32)]

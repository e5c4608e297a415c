"""A Hugging Face hub that is only its cache: real files in the hub's own layout, no network."""

import dataclasses
import hashlib
import os
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax import ResNetConfig
from resnet_jax.weights.files import write_safetensors
from resnet_jax.weights.leaves import leaves_of, skeleton

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def publish():
    """Puts a state dict into the cache, as if `timm/NAME.TAG` had been downloaded."""

    def put(name, state_dict):
        folder = pathlib.Path(os.environ["HF_HOME"]) / "hub" / f"models--timm--{name}"
        snapshot = folder / "snapshots" / COMMIT
        for part in (folder / "refs", folder / "blobs", snapshot):
            part.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / "main").write_text(COMMIT)
        file = folder / "download.safetensors"
        write_safetensors(file, state_dict, {"format": "pt"})
        blob = folder / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        file.replace(blob)
        link = snapshot / "model.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(pathlib.Path("../../blobs") / blob.name)

    return put


TINY = ResNetConfig(
    depths=(1, 2), widths=(16, 32), block="bottleneck", stem_features=8, num_classes=5
)


@pytest.fixture
def tiny():
    """A bottleneck network of two stages."""
    return TINY


@pytest.fixture
def network():
    """Builds networks of random parameters and statistics, without compiling anything."""

    def build(config=TINY, seed=0, *, param_dtype=jnp.float32, **fields):
        model = skeleton(dataclasses.replace(config, **fields), param_dtype=param_dtype)
        numbers = np.random.default_rng(seed)
        for leaf in leaves_of(model):
            leaf.assign(numbers.uniform(0.5, 1.5, leaf.variable.shape))
        return model

    return build

"""A Hugging Face hub that is only its cache: real files in the hub's own layout, no network."""

import hashlib
import os
import pathlib
import tempfile

import pytest

from resnet_jax import ResNetConfig
from resnet_jax.weights.files import write_safetensors

# The hub's library reads these when it is first imported, which happens in the first test that
# fetches something.
_HOME = tempfile.TemporaryDirectory(prefix="resnet_jax_hub_")
os.environ["HF_HOME"] = _HOME.name
os.environ["HF_HUB_OFFLINE"] = "1"
for _name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
    os.environ.pop(_name, None)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def publish():
    """Puts a state dict into the cache, as if `timm/NAME.TAG` had been downloaded."""

    def put(name, state_dict):
        folder = pathlib.Path(_HOME.name) / "hub" / f"models--timm--{name}"
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


@pytest.fixture
def tiny():
    """A bottleneck network of two stages, which builds in no time."""
    return ResNetConfig(
        depths=(1, 2), widths=(16, 32), block="bottleneck", stem_features=8, num_classes=5
    )

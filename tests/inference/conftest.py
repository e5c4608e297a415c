import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from resnet_jax.inference.trained import Trained
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.network_inputs import NetworkInputs

COLOURS = {"blue": (20, 30, 220), "green": (30, 200, 40), "red": (210, 25, 30)}
TINY = ResNetConfig(
    depths=(1, 1), widths=(8, 16), stem="cifar", stem_features=8, shortcut="a", num_classes=3
)


@pytest.fixture
def build():
    """Builds a network in evaluation mode with random parameters and statistics."""

    def build(config=TINY, seed=0):
        rng = np.random.default_rng(seed)
        model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
        for path, leaf in nnx.to_flat_state(nnx.state(model)):
            values = rng.normal(size=leaf.get_value().shape)
            if path[-1] == "kernel":
                values *= np.sqrt(2 / np.prod(values.shape[:-1]))
            else:
                values = 0.1 * values + (path[-1] in ("scale", "var"))
            leaf.set_value(jnp.asarray(values, jnp.float32))
        model.eval()
        return model

    return build


@pytest.fixture
def trained(build):
    """An untrained network with three colours as classes."""
    inputs = NetworkInputs(size=8, mean=(0.5,), std=(0.25,), class_names=tuple(COLOURS))
    return Trained(build(), inputs, origin="tiny")


@pytest.fixture
def colour_sighted(trained):
    """A network whose logits are the means of blue, green and red."""

    class Largest(nnx.Module):
        config = dataclasses.replace(TINY)

        def __call__(self, x):
            return 4 * jnp.mean(x, (1, 2))[:, ::-1]

    return dataclasses.replace(trained, model=Largest())


def paint(path, colour, *, size=(12, 10), seed=0):
    """Writes a noisy image of one colour."""
    noise = np.random.default_rng(seed).integers(-20, 21, (*size, 3))
    pixels = (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def image_folder(tmp_path):
    """A dataset with 7 + 5 + 3 test images of several sizes, in one folder per colour."""
    root = tmp_path / "images"
    for colour, count in (("blue", 7), ("green", 5), ("red", 3)):
        for number in range(count):
            path = root / "test" / colour / f"{number}.png"
            paint(path, colour, size=(9 + number, 12), seed=number)
        paint(root / "train" / colour / "0.png", colour)
    return root

import io

import pytest
from PIL import Image

from resnet_jax.data.sources import InMemorySource, open_split


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    open_split("digits", "train", data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def digits(digits_dir) -> InMemorySource:
    return open_split("digits", "train", data_dir=digits_dir).in_memory()


@pytest.fixture
def png():
    """Makes a PNG file of 5 x 4 pixels with a level of red."""

    def make(red):
        buffer = io.BytesIO()
        Image.new("RGB", (5, 4), (red, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    return make

import pytest

from resnet_jax.data.sources import InMemorySource, open_split


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    open_split("digits", "train", data_dir=folder)
    return folder


@pytest.fixture(scope="session")
def digits(digits_dir) -> InMemorySource:
    return open_split("digits", "train", data_dir=digits_dir).in_memory()

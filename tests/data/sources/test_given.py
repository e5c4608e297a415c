import numpy as np
import pytest

from resnet_jax.data.config import DataConfig
from resnet_jax.data.sources import InMemorySource, load_split, open_split
from resnet_jax.errors import ConfigError

SOURCE = InMemorySource(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int32), ("a",))


def test_a_source_takes_the_place_of_a_split_and_is_not_changed():
    config = DataConfig(name="given:mine", max_pixels=20)
    chosen = load_split(config, "train", sources={"train": SOURCE})
    assert len(chosen) == 2
    assert chosen.max_pixels == 20
    assert SOURCE.max_pixels != 20


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("digits", "train", "data.name='digits' names a dataset and sources are given as well"),
        ("given:mine", "dev", "sources has 'train' and not the split 'dev' of the recipe"),
    ],
)
def test_what_does_not_go_together_is_refused(name, split, message):
    with pytest.raises(ConfigError, match=message):
        load_split(DataConfig(name=name), split, sources={"train": SOURCE})


def test_without_its_program_it_cannot_be_opened():
    with pytest.raises(ConfigError, match=r"data.name='given:mine' was handed over by a program"):
        open_split("given:mine", "train")
    with pytest.raises(ConfigError, match=r"hf:NAME$"):
        DataConfig(name="given mine")

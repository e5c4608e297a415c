import dataclasses
import pkgutil

import pytest
from pydantic import TypeAdapter

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.source_names import ADVICE, SOURCES
from resnet_jax.errors import ConfigError
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate


def test_pydantic_builds_them():
    config = TypeAdapter(DataConfig).validate_python({"name": "folder:photos", "mean": [0.5]})
    assert config.mean == (0.5,)
    assert TypeAdapter(AugmentConfig).validate_python({"shift": 1}).shift == 1.0


@pytest.mark.parametrize(
    "name", ["digits", "cifar10:3.0.2", "imagenet2012_subset/10pct", "zip:/a b.zip", "hf:org/set"]
)
def test_names_of_every_kind_are_taken(name):
    assert DataConfig(name=name).name == name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "foldr:photos"}, "data.name='foldr:photos' .* Did you mean 'folder'"),
        ({"name": "my photos"}, "data.name='my photos' is not the name .* folder:PATH"),
        ({"name": "zip:"}, "data.name='zip:' names nothing; write zip:PATH"),
        ({"train_split": " "}, "data.train_split=' ': names no split; write one, such as 'train'"),
        ({"validation_split": ""}, "data.validation_split='': names no split"),
        ({"test_split": ""}, "data.test_split='': names no split"),
        ({"mean": (0.5, 0.5)}, r"data.mean=\(0.5, 0.5\) has 2 numbers; give 1 number, or 3"),
        ({"mean": (127.5,)}, "data.mean=.* leaves 0..1; divide"),
        ({"std": (0.0,)}, "data.std=.* leaves 0.0001..1"),
        ({"image_size": 0}, "data.image_size=0: must be greater than 0"),
        ({"crop_fraction": 0.0}, "data.crop_fraction=0.0: must be greater than 0"),
        ({"crop_area": (0.5, 0.1)}, r"data.crop_area=\[0.5, 0.1\]: .* the smaller first"),
        ({"crop_area": (0.5, 1.5)}, "data.crop_area.1=1.5: must be less than or equal to 1"),
        ({"crop_ratio": (2.0, 1.0)}, r"data.crop_ratio=\[2.0, 1.0\]: .* the smaller first"),
        ({"crop_ratio": (0.0, 1.0)}, "data.crop_ratio.0=0.0: must be greater than 0"),
        ({"max_bad_examples": -1}, "data.max_bad_examples=-1: must be greater than or equal to 0"),
        ({"workers": -1}, "data.workers=-1: must be greater than or equal to 0"),
    ],
)
def test_a_wrong_data_field_is_named(fields, message):
    with pytest.raises(ConfigError, match=message) as error:
        validate(TrainConfig(data=DataConfig(**fields)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shift": -1.0}, "augment.shift=-1.0: must be greater than or equal to 0"),
        ({"rotate": 200.0}, "augment.rotate=200.0: must be less than or equal to 180"),
        ({"scale": 1.0}, "augment.scale=1.0: must be less than or equal to 0.99"),
        ({"flip": True}, "augment.flip=True: must be a valid number"),
        ({"pad_crop": -4}, "augment.pad_crop=-4: must be greater than or equal to 0"),
        ({"mix_group_size": 0}, "augment.mix_group_size=0: must be greater than 0"),
    ],
)
def test_a_wrong_augment_field_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(TrainConfig(augment=AugmentConfig(**fields)))


@pytest.mark.parametrize("prefix", SOURCES)
def test_every_row_of_the_table_of_sources_is_found(prefix):
    kind = SOURCES[prefix]
    assert callable(pkgutil.resolve_name(kind.opener))
    assert kind.files is None or callable(pkgutil.resolve_name(kind.files))
    assert (f"{prefix}:{kind.takes}" in ADVICE) == kind.is_offered


def test_a_recipe_decides_the_inputs_of_its_network():
    data = DataConfig(mean=(0.1,), std=(0.2,))
    assert data.inputs(channels=1, size=8) == NetworkInputs(
        size=8, mean=(0.1,), std=(0.2,), channels=1
    )
    resized = dataclasses.replace(data, image_size=96, crop_fraction=0.95)
    inputs = resized.inputs(channels=3, size=8)
    assert (inputs.size, inputs.crop_fraction) == (96, 0.95)

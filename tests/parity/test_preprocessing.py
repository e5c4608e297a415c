import importlib

import numpy as np
import pytest
from PIL import Image

import resnet_jax
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.resize import ResizeCentreCrop


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_fraction", [0.875, 0.95])
def test_evaluation_pixels_are_torchvisions(shared_data, torchvision, interpolation, crop_fraction):
    transforms = importlib.import_module(f"{torchvision.__name__}.transforms")
    resize = transforms.Resize(
        int(224 / crop_fraction), transforms.InterpolationMode(interpolation)
    )
    theirs = transforms.Compose([resize, transforms.CenterCrop(224)])
    ours = ResizeCentreCrop(224, crop_fraction=crop_fraction, interpolation=interpolation)
    photos = sorted((shared_data / "data" / "photos").iterdir())
    assert len(photos) == 200
    for photo in photos:
        with Image.open(photo) as image:
            expected = np.asarray(theirs(image.convert("RGB"))).astype(int)
        result = ours(Record(photo.read_bytes(), 0), np.random.default_rng())
        assert np.abs(result - expected).max() <= 1, photo.name


@pytest.mark.parametrize(
    "name", ["resnet50.a1_in1k", "resnet18.tv_in1k", "resnetv2_50x1_bit.goog_in21k"]
)
def test_preprocessing_is_timms(shared_data, torch, timm, name):
    data = importlib.import_module(f"{timm.__name__}.data")
    config = timm.get_pretrained_cfg(name).to_dict()
    theirs = data.create_transform(**data.resolve_data_config(config), is_training=False)
    ours = resnet_jax.preprocessing(name)
    photos = sorted((shared_data / "data" / "photos").iterdir())[::4]
    results = ours(photos)
    std = np.asarray(config["std"])
    for photo, result in zip(photos, results, strict=True):
        with Image.open(photo) as image:
            expected = theirs(image.convert("RGB")).numpy().transpose(1, 2, 0)
        # One grey level, and the rounding of the normalised numbers.
        assert (np.abs(result - expected) * std * 255).max() <= 1.001, photo.name

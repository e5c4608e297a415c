import importlib

import numpy as np
import pytest
from PIL import Image

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

import io

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.resize import RandomResizedCrop, ResizeCentreCrop, random_box
from resnet_jax.data.images.transforms import ImageSteps, eval_transform, train_transform


def rng(seed=0):
    return np.random.default_rng(seed)


def jpeg(orientation=1):
    """A smooth photo of 400 x 304 pixels as a JPEG, stored in an orientation of EXIF."""
    rows, columns = np.mgrid[:304, :400]  # whole blocks: a turned photo begins with one as well
    pixels = np.stack([rows * 0.8, columns * 0.6, 255 - rows * 0.8], axis=-1).astype(np.uint8)
    turns = {1: 0, 6: 1, 8: -1}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(pixels, turns)).save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


@pytest.fixture
def photo():
    return jpeg()


@pytest.mark.parametrize("size", [32, 100, 224])
@pytest.mark.parametrize(("channels", "orientation"), [(1, 1), (3, 1), (3, 6), (3, 8)])
def test_a_random_crop_shows_its_window(size, channels, orientation):
    photo = jpeg(orientation)
    crop = RandomResizedCrop(size, channels=channels)
    pixels = decode_image(photo, channels=channels)
    for seed in range(10):
        result = crop(Record(photo, 0), rng(seed))
        box = random_box(rng(seed), 304, 400, area=crop.area, ratio=crop.ratio)
        window = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
        image = Image.fromarray(window if channels == 3 else window[..., 0])
        expected = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
        assert result.dtype == np.uint8
        assert result.shape == (size, size, channels)
        difference = np.abs(result.astype(int) - expected.reshape(result.shape))
        assert difference.mean() < 2.0
        assert difference.max() <= 8


def test_a_random_crop_depends_on_its_generator_alone(photo):
    crop = RandomResizedCrop(64, interpolation="bicubic")
    first, same, other = (crop(Record(photo, 0), rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_windows_have_the_area_and_ratio_that_are_asked():
    generator = rng()
    boxes = [
        random_box(generator, 300, 400, area=(0.1, 0.5), ratio=(0.75, 4 / 3)) for _ in range(500)
    ]
    areas = np.array([box.height * box.width / 120_000 for box in boxes])
    ratios = np.array([box.width / box.height for box in boxes])
    assert 0.098 < areas.min() < 0.12
    assert 0.47 < areas.max() < 0.502
    assert 0.74 < ratios.min() < 0.78
    assert 1.28 < ratios.max() < 1.345
    for box in boxes:
        assert 0 <= box.top <= 300 - box.height
        assert 0 <= box.left <= 400 - box.width


def test_where_no_window_fits_the_centre_is_taken():
    assert random_box(rng(), 10, 1000, area=(1, 1), ratio=(0.75, 4 / 3)) == (0, 493, 10, 13)
    assert random_box(rng(), 1000, 9, area=(1, 1), ratio=(0.75, 4 / 3)) == (494, 0, 12, 9)


def test_the_centre_crop_of_pixels_and_of_a_file_are_equal(photo):
    for channels in (1, 3):
        crop = ResizeCentreCrop(56, channels=channels)
        from_file = crop(Record(photo, 0), rng())
        assert from_file.shape == (56, 56, channels)
        pixels = decode_image(photo, channels=channels)
        np.testing.assert_array_equal(crop(Record(pixels, 0), rng()), from_file)


def test_the_recipe_chooses_the_transform():
    assert train_transform(DataConfig(), channels=1) is None
    assert eval_transform(DataConfig().inputs(channels=1)) is None
    config = DataConfig(
        image_size=64, crop_area=(0.2, 0.9), crop_fraction=0.95, interpolation="bicubic"
    )
    crop = RandomResizedCrop(64, area=(0.2, 0.9), interpolation="bicubic")
    assert train_transform(config, channels=3) == ImageSteps(crop)
    centre = ResizeCentreCrop(64, 0.95, "bicubic", 1)
    assert eval_transform(config.inputs(channels=1)) == ImageSteps(centre)

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.config import DataConfig
from resnet_jax.data.images.bad_image import BadImageError
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


def encoded(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


FORMATS = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"quality": 90},
    "lossless WEBP": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "GIF": {},
}


def assert_shows_the_window_of_pillow(file, interpolation, *, size=32, seeds=6, levels):
    crop = RandomResizedCrop(size, interpolation=interpolation)
    with Image.open(io.BytesIO(file)) as opened:
        whole = opened.convert("RGB")
    kind = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    for seed in range(seeds):
        box = random_box(rng(seed), whole.height, whole.width, area=crop.area, ratio=crop.ratio)
        edges = (box.left, box.top, box.left + box.width, box.top + box.height)
        expected = np.asarray(whole.crop(edges).resize((size, size), kind[interpolation]))
        result = crop(Record(file, 0), rng(seed))
        assert np.abs(result.astype(int) - expected).mean() <= levels


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("height", [20, 45, 100, 700])
def test_a_random_crop_is_pillows_in_every_format_and_size(kind, interpolation, height):
    """Of stripes and noise. A JPEG at a fraction has its window rounded to that scale's pixels."""
    rows, columns = np.mgrid[:height, : height * 4 // 3]
    waves = 100 + 60 * np.sin(rows / 7) + 60 * (columns // 9 % 2)
    noise = rng().integers(30, size=(*waves.shape, 3))
    file = encoded((waves[..., None] + noise).astype(np.uint8), kind.split()[-1], **FORMATS[kind])
    # Measured: 1.4 for bilinear, 0 for bicubic; for a JPEG at a fraction 12.4 (of photographs 3).
    levels = 15 if kind == "JPEG" else 0 if interpolation == "bicubic" else 2
    assert_shows_the_window_of_pillow(file, interpolation, levels=levels)


@pytest.mark.parametrize("kind", ["PNG", "lossless WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [1792, 448, 300])
def test_noise_is_averaged_as_pillow_does(kind, size):
    pixels = rng().integers(256, size=(size, size, 3), dtype=np.uint8)
    crop = RandomResizedCrop(224, area=(1, 1), ratio=(1, 1))
    file = encoded(pixels, kind.split()[-1], **FORMATS[kind])
    result = crop(Record(file, 0), rng())
    expected = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR))
    assert result.std() == pytest.approx(expected.std(), rel=0.05)


def test_a_jpeg_beyond_a_factor_of_eight_is_averaged_too():
    pixels = rng().integers(256, size=(1024, 1024, 3), dtype=np.uint8)
    file = encoded(pixels, "JPEG", quality=100, subsampling=0)
    result = RandomResizedCrop(16, area=(1, 1), ratio=(1, 1))(Record(file, 0), rng())
    assert result.std() < 2.5  # without a filter 9; with Pillow's, 64 times smaller, 1.3


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1)])
@pytest.mark.parametrize("crop", [RandomResizedCrop(224), ResizeCentreCrop(224)])
def test_a_line_of_pixels_is_refused(shape, crop):
    file = encoded(np.zeros(shape, np.uint8), "PNG")
    assert len(file) < 400
    reason = f"{shape[1]} x {shape[0]} pixels, one side more than 1000 times the other"
    with pytest.raises(BadImageError, match=reason):
        crop(Record(file, 0), rng())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("ratio", [7, 9, 100, 1000])
def test_of_a_long_image_the_centre_is_shown(ratio, turned):
    pixels = rng().integers(256, size=(30, 30 * ratio, 3), dtype=np.uint8)
    middle = 15 * ratio
    around = pixels[:, middle - 30 : middle + 30]  # wide enough that its ends do not matter
    if turned:
        pixels, around = pixels.transpose(1, 0, 2), around.transpose(1, 0, 2)
    crop = ResizeCentreCrop(60, crop_fraction=0.75)
    result, expected = (crop(Record(image, 0), rng()) for image in (pixels, around))
    # A position is rounded to 24 bits in Pillow.
    assert np.abs(result.astype(int) - expected).max() <= 1


PEAK = """
import resource, numpy as np
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.resize import RandomResizedCrop, ResizeCentreCrop
image = Record(np.zeros({shape}, np.uint8), 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for crop in (ResizeCentreCrop(224), RandomResizedCrop(224)):
    crop(image, np.random.default_rng(0))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
@pytest.mark.parametrize("shape", [(5, 5000, 3), (5000, 5, 3)])
def test_a_long_image_takes_no_memory(shape):
    """Resized as a whole, it would have 256 x 256,000 pixels of four bytes: 250 MiB."""
    command = [sys.executable, "-c", PEAK.format(shape=shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 32 * 1024


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

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from resnet_jax.data.config import AugmentConfig
from resnet_jax.data.on_device import augment


@pytest.fixture(params=[(8, 8, 1), (9, 12, 3)], ids=str)
def images(request):
    return jax.random.uniform(jax.random.key(0), (6, *request.param), maxval=255.0)


def test_affine_equals_scipys(images):
    keys = jax.random.split(jax.random.key(1))
    matrices = jnp.eye(2) + 0.2 * jax.random.normal(keys[0], (6, 2, 2))
    offsets = 2 * jax.random.normal(keys[1], (6, 2))
    result = jax.jit(augment.affine)(images, matrices, offsets)
    centre = (np.array(images.shape[1:3]) - 1) / 2
    for image, matrix, offset, got in zip(
        *map(np.asarray, (images, matrices, offsets, result)), strict=True
    ):
        for channel in range(image.shape[2]):
            expected = ndimage.affine_transform(
                image[..., channel].astype(np.float64),
                matrix.astype(np.float64),
                offset=centre + offset - matrix.astype(np.float64) @ centre,
                order=1,
                mode="grid-constant",
            )
            np.testing.assert_allclose(got[..., channel], expected, atol=0.01)


def test_affine_rotates_and_shifts_in_the_stated_sense():
    image = jnp.zeros((1, 5, 5, 1)).at[0, 0, 2, 0].set(1.0)
    quarter = jnp.array([[[0.0, -1.0], [1.0, 0.0]]])
    turned = augment.affine(image, quarter, jnp.zeros((1, 2)))
    assert turned[0, 2, 4, 0] == 1.0  # clockwise, from the top to the right
    moved = augment.affine(image, jnp.eye(2)[None], jnp.array([[-1.0, 0.0]]))
    assert moved[0, 1, 2, 0] == 1.0


def test_random_affine_stays_within_its_limits():
    image = jnp.zeros((500, 9, 9, 1)).at[:, 4, 4].set(1.0)
    moved = augment.random_affine(jax.random.key(0), image, shift=1.5)
    rows = (moved[..., 0] * jnp.arange(9)[:, None]).sum((1, 2)) - 4
    assert jnp.abs(rows).max() <= 1.5 + 1e-5
    assert rows.min() < -1.3
    assert rows.max() > 1.3
    assert jnp.abs(rows.mean()) < 0.15


def test_pad_crop_gives_windows_of_the_padded_image(images):
    pad = 2
    result = np.asarray(augment.random_pad_crop(jax.random.key(3), images, pad=pad))
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], axis=(1, 2))
    places = set()
    for number, got in enumerate(result):
        match = (windows[number] == got.transpose(2, 0, 1)).all(axis=(2, 3, 4))
        assert match.sum() == 1
        places.add(tuple(np.argwhere(match)[0]))
    assert len(places) > 1


def test_flip_mirrors_the_share_that_it_is_told(images):
    many = jnp.repeat(images[:1], 1000, axis=0)
    result = augment.random_flip(jax.random.key(0), many, probability=0.25)
    mirrored = (result == many[:, :, ::-1]).all((1, 2, 3))
    kept = (result == many).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 0.2 < mirrored.mean() < 0.3


def test_normalize_divides_by_255_first():
    pixels = jnp.array([[[[0, 128, 255]]]], jnp.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 0.2)
    result = augment.normalize(pixels, mean, std)
    expected = (np.asarray(pixels) / 255.0 - np.array(mean)) / np.array(std)
    chex.assert_type(result, jnp.float32)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    chex.assert_trees_all_close(
        augment.normalize(pixels, (0.5,), (0.5,)), pixels / 127.5 - 1.0, rtol=1e-5
    )


FULL = AugmentConfig(shift=1.0, rotate=10.0, scale=0.1, pad_crop=1, flip=0.5)


def test_augment_is_pure_and_equal_under_jit(images):
    change = augment.build_augment(FULL)
    pixels = images.astype(jnp.uint8)
    first = jax.jit(change)(jax.random.key(7), pixels)
    chex.assert_trees_all_equal(first, jax.jit(change)(jax.random.key(7), pixels))
    chex.assert_trees_all_close(first, change(jax.random.key(7), pixels), atol=1e-2)
    chex.assert_equal_shape([first, images])
    chex.assert_type(first, jnp.float32)
    assert (first != jax.jit(change)(jax.random.key(8), pixels)).any()
    assert first.min() >= 0
    assert first.max() <= 255.001


def test_nothing_changes_at_zero(images):
    pixels = images.astype(jnp.uint8)
    same = augment.build_augment(AugmentConfig())(jax.random.key(0), pixels)
    chex.assert_trees_all_equal(same, pixels)
    chex.assert_type(same, jnp.uint8)
    key = jax.random.key(1)
    chex.assert_trees_all_close(augment.random_affine(key, images), images, rtol=1e-6)
    chex.assert_trees_all_equal(augment.random_pad_crop(key, images, pad=0), images)
    chex.assert_trees_all_equal(augment.random_flip(key, images, probability=0.0), images)

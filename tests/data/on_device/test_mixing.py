import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from resnet_jax.blocks import identity
from resnet_jax.data.config import AugmentConfig
from resnet_jax.data.on_device import erasing, mixing
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError


@pytest.fixture
def batch():
    """Six images of which each is full of its number, and their labels."""
    images = jnp.broadcast_to(jnp.arange(6.0)[:, None, None, None], (6, 8, 10, 3))
    return images, jnp.arange(6)


def build(config, normalize=identity):
    return mixing.build_mix(config, num_classes=6, normalize=normalize)


@pytest.mark.parametrize("mode", ["batch", "pair"])
def test_mixup_blends_image_and_target_alike(batch, mode):
    config = AugmentConfig(mixup=0.8, mix_mode=mode)
    images, targets = jax.jit(build(config))(jax.random.key(0), *batch)
    share = jnp.diag(targets)
    chex.assert_trees_all_close(targets.sum(1), jnp.ones(6), rtol=1e-6)
    chex.assert_trees_all_close(images[:, 0, 0, 0], targets @ jnp.arange(6.0), rtol=1e-5)
    chex.assert_trees_all_close(images, jnp.broadcast_to(images[:, :1, :1, :1], images.shape))
    assert len(np.unique(share.round(6))) == (1 if mode == "batch" else 3)
    chex.assert_trees_all_close(share, share[::-1])


@pytest.mark.parametrize("concentration", [0.01, 0.1, 0.2, 1.0, 8.0])
def test_shares_have_a_symmetric_beta_distribution(concentration):
    draws = np.asarray(mixing.symmetric_beta(jax.random.key(0), concentration, (20_000,)))
    assert np.isfinite(draws).all()
    inner = draws[(draws > 1e-6) & (draws < 1 - 1e-6)]  # float32 has no more digits near 1
    law = stats.beta(concentration, concentration)
    assert abs(len(inner) / len(draws) - np.diff(law.cdf([1e-6, 1 - 1e-6]))[0]) < 0.01
    low, high = law.cdf([1e-6, 1 - 1e-6])
    # A right sampler fails once in ten thousand times; this one has a fixed key.
    assert stats.kstest(inner, lambda x: (law.cdf(x) - low) / (high - low)).pvalue > 1e-4


@pytest.mark.parametrize("mode", ["batch", "pair"])
def test_cutmix_weighs_the_target_by_the_pixels(batch, mode):
    config = AugmentConfig(cutmix=1.0, mix_mode=mode)
    mix = jax.jit(build(config))
    for seed in range(5):
        images, targets = mix(jax.random.key(seed), *batch)
        own = (images[..., 0] == batch[0][..., 0]).mean((1, 2))
        partner = (images[..., 0] == batch[0][::-1, ..., 0]).mean((1, 2))
        chex.assert_trees_all_close(own + partner, jnp.ones(6))
        chex.assert_trees_all_close(jnp.diag(targets), own, atol=1e-6)
        chex.assert_trees_all_close(jnp.diag(targets[::-1]), partner[::-1], atol=1e-6)


def test_mixup_and_cutmix_alternate():
    draw = mixing.draw_mix(
        jax.random.key(0), 2000, (8, 8), mixup=0.2, cutmix=1.0, switch=0.3, mode="pair"
    )
    assert 0.25 < draw.cut.mean() < 0.35
    cuts = jax.jit(
        jax.vmap(lambda key: mixing.draw_mix(key, 4, (8, 8), mixup=0.2, cutmix=1.0).cut)
    )(jax.random.split(jax.random.key(0), 30))
    assert set(np.unique(cuts)) == {True, False}
    assert (cuts == cuts[:, :1]).all()


def test_each_group_is_mixed_as_a_batch_of_its_own(batch):
    config = AugmentConfig(mixup=0.8, mix_group_size=2)
    images, targets = jax.jit(build(config))(jax.random.key(0), *batch)
    share = jnp.diag(targets)
    assert len(np.unique(share.round(6))) == 3
    for first in (0, 2, 4):
        own, partner = first, first + 1
        assert share[own] == share[partner]
        chex.assert_trees_all_close(targets[own, partner], 1 - share[own], atol=1e-6)
    chex.assert_trees_all_close(images[:, 0, 0, 0], targets @ jnp.arange(6.0), rtol=1e-5)
    with pytest.raises(ConfigError, match="mix_group_size=4 does not divide a batch of 6 images"):
        build(AugmentConfig(mixup=1.0, mix_group_size=4))(jax.random.key(0), *batch)


@pytest.mark.parametrize("erase", [0.0, 0.5])
@pytest.mark.parametrize("group", [None, 2])
def test_pixels_are_mixed_as_normalised_images_are(erase, group):
    """Partners are exchanged before they are normalised, which changes at most the rounding."""
    config = AugmentConfig(
        mixup=0.8, cutmix=1.0, mix_mode="pair", mix_group_size=group, erase=erase
    )
    pixels = jax.random.randint(jax.random.key(1), (6, 8, 10, 3), 0, 256).astype(jnp.uint8)
    units = functools.partial(normalize, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    for seed in range(4):
        arguments = jax.random.key(seed), jnp.arange(6)
        first = jax.jit(build(config, units))(arguments[0], pixels, arguments[1])
        expected = jax.jit(build(config))(arguments[0], jax.jit(units)(pixels), arguments[1])
        chex.assert_trees_all_close(first, expected, rtol=1e-6, atol=1e-6)


def test_nothing_is_mixed_more_often_than_asked(batch):
    draw = mixing.draw_mix(
        jax.random.key(0), 2000, (8, 8), mixup=1.0, cutmix=0.0, probability=0.25, mode="pair"
    )
    assert 0.2 < (draw.share < 1).mean() < 0.3
    images, targets = build(AugmentConfig())(jax.random.key(0), *batch)
    chex.assert_trees_all_equal(images, batch[0])
    chex.assert_trees_all_equal(targets, batch[1])


@pytest.mark.parametrize("mode", ["mean", "noise"])
def test_erasing_takes_one_rectangle_that_fits(mode):
    images = jnp.full((400, 16, 20, 3), 7.0)
    erase = jax.jit(
        lambda key, *area: erasing.random_erase(key, images, probability=0.5, mode=mode, area=area)
    )
    result = erase(jax.random.key(0), 0.1, 0.3)
    chex.assert_trees_all_equal(result, erase(jax.random.key(0), 0.1, 0.3))
    # A rectangle of the image's area is the image, or longer than it is.
    chex.assert_trees_all_equal(erase(jax.random.key(0), 1.0, 1.0), images)
    gone = np.asarray((result != images).all(-1))
    erased = gone.any((1, 2))
    assert 0.4 < erased.mean() < 0.6
    shares = gone[erased].mean((1, 2))
    assert 0.07 < shares.min() < 0.13
    assert 0.25 < shares.max() < 0.33
    for mask in gone[erased][:20]:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    filled = np.asarray(result)[gone]
    if mode == "mean":
        assert (filled == 0).all()
    else:
        assert abs(filled.mean()) < 0.05
        assert abs(filled.std() - 1) < 0.05

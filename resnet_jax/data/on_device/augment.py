"""Augmentation of a batch on the accelerator: pure functions for the inside of a jitted step.

Images are [batch, height, width, channels] in units of 0..255. Each image gets its own draw; the
draws depend only on the key and the batch size, not on the number of devices.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.ndimage import map_coordinates

from resnet_jax.data.config import AugmentConfig

Augment = Callable[[Array, Array], Array]
"""Maps (key, images) to images of the same shape."""


class Change(NamedTuple):
    """A random change of the images of a batch, and the line that says so."""

    line: str
    apply: Augment


def normalize(images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """Brings pixels to the units in which the network was, or will be, trained.

    Args:
        images: [..., channels] in units of 0..255, uint8 or floating.
        mean: Mean in units of 0..1, for all channels or one a channel.
        std: Standard deviation in units of 0..1, for all channels or one a channel.

    Returns:
        float32 array of the same shape, `(images / 255 - mean) / std`.
    """
    scale = 1.0 / (255.0 * jnp.asarray(std, jnp.float32))
    offset = jnp.asarray(mean, jnp.float32) / jnp.asarray(std, jnp.float32)
    return images.astype(jnp.float32) * scale - offset


def describe_normalize(mean: Sequence[float], std: Sequence[float]) -> str:
    """Says in a line what `normalize` does."""
    means, stds = (" ".join(f"{value:g}" for value in values) for values in (mean, std))
    return f"normalize: (level / 255 - mean) / std, mean {means}, std {stds}"


def affine(images: Array, matrices: Array, offsets: Array) -> Array:
    """Resamples each image: output pixel `p` takes the value at `matrix @ (p - c) + offset + c`.

    `c` is the centre of the image, ((height - 1) / 2, (width - 1) / 2). Bilinear; outside of the
    image lies zero: `scipy.ndimage.affine_transform` with `order=1, mode="grid-constant"`.

    Args:
        images: float32 [batch, height, width, channels].
        matrices: [batch, 2, 2] over (row, column).
        offsets: Pixels (row, column), shape [batch, 2].

    Returns:
        float32 array of the shape of `images`.
    """
    height, width = images.shape[1:3]
    centre = jnp.array([(height - 1) / 2, (width - 1) / 2])
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij"), axis=-1)

    def resample(image: Array, matrix: Array, offset: Array) -> Array:
        # Not as a matrix product, which GPUs and TPUs round to fewer digits than places need.
        turned = ((grid - centre)[..., None, :] * matrix).sum(axis=-1)
        places = turned + offset + centre
        rows, columns = places[..., 0], places[..., 1]
        return jax.vmap(
            lambda plane: map_coordinates(plane, [rows, columns], order=1, mode="constant"),
            in_axes=-1,
            out_axes=-1,
        )(image)

    return jax.vmap(resample)(images, matrices, offsets)


def random_affine(
    key: Array, images: Array, *, shift: float = 0.0, rotate: float = 0.0, scale: float = 0.0
) -> Array:
    """Shifts, rotates about the centre and scales each image at random; outside of it is zero.

    Args:
        key: Random key.
        images: float32 [batch, height, width, channels].
        shift: Largest shift along each axis in pixels, fractions included.
        rotate: Largest rotation in degrees, both ways.
        scale: Largest change of size as a fraction: factors from 1 - scale to 1 + scale.

    Returns:
        float32 array of the shape of `images`.
    """
    batch = images.shape[0]
    shift_key, rotate_key, scale_key = jax.random.split(key, 3)
    offsets = jax.random.uniform(shift_key, (batch, 2), minval=-shift, maxval=shift)
    angles = jnp.deg2rad(jax.random.uniform(rotate_key, (batch,), minval=-rotate, maxval=rotate))
    factors = jax.random.uniform(scale_key, (batch,), minval=1 - scale, maxval=1 + scale)
    cosine, sine = jnp.cos(angles) / factors, jnp.sin(angles) / factors
    rows = [jnp.stack([cosine, -sine], axis=-1), jnp.stack([sine, cosine], axis=-1)]
    return affine(images, jnp.stack(rows, axis=-2), offsets)


def random_pad_crop(key: Array, images: Array, *, pad: int) -> Array:
    """Pads each image with zeros and cuts a window of the old size from a random place.

    Args:
        key: Random key.
        images: [batch, height, width, channels].
        pad: Pixels of padding on each side; each of the (2 pad + 1)^2 places is as likely.

    Returns:
        An array of the shape and dtype of `images`.
    """
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * pad + 1)
    rows = _slide(padded, corners[:, 0], axis=1, size=images.shape[1])
    return _slide(rows, corners[:, 1], axis=2, size=images.shape[2])


def _slide(images: Array, starts: Array, *, axis: int, size: int) -> Array:
    """Takes of each image the part of a size that begins at its own start.

    It chooses among all slices: a dynamic slice of each image is a loop over the images on a TPU.
    """
    own = starts[:, None, None, None]
    count = images.shape[axis] - size + 1
    slices = [jax.lax.slice_in_dim(images, i, i + size, axis=axis) for i in range(count)]
    return functools.reduce(
        lambda chosen, i: jnp.where(own == i, slices[i], chosen), range(1, count), slices[0]
    )


def random_flip(key: Array, images: Array, *, probability: float = 0.5) -> Array:
    """Mirrors images left and right.

    Args:
        key: Random key.
        images: [batch, height, width, channels].
        probability: Probability of each image to be mirrored.

    Returns:
        An array of the shape and dtype of `images`.
    """
    chosen = jax.random.bernoulli(key, probability, (images.shape[0], 1, 1, 1))
    return jnp.where(chosen, images[:, :, ::-1, :], images)


def augment_changes(config: AugmentConfig) -> list[Change]:
    """Lists the changes of a recipe that come before `normalize`, in order.

    Where the recipe has a policy, padding and flipping are done before it, on the host.
    """
    changes: list[Change] = []
    if config.shift or config.rotate or config.scale:
        changes.append(
            Change(
                f"move: shift by up to {config.shift:g} pixels, rotate by up to {config.rotate:g} "
                f"degrees, scale by up to {config.scale:g}",
                lambda key, images: random_affine(
                    key,
                    images.astype(jnp.float32),
                    shift=config.shift,
                    rotate=config.rotate,
                    scale=config.scale,
                ),
            )
        )
    if config.pad_crop and config.policy is None:
        changes.append(
            Change(
                f"crop: pad by {config.pad_crop} pixels of black and cut a window of the old size",
                lambda key, images: random_pad_crop(key, images, pad=config.pad_crop),
            )
        )
    if config.flip and config.policy is None:
        changes.append(
            Change(
                f"flip left and right with probability {config.flip:g}",
                lambda key, images: random_flip(key, images, probability=config.flip),
            )
        )
    return changes


def build_augment(config: AugmentConfig) -> Augment:
    """Composes `augment_changes`.

    Args:
        config: What to do and how strongly; see `AugmentConfig`.

    Returns:
        A pure function of (key, images), to be used inside the jitted step before `normalize`. It
        takes uint8 or float32 in units of 0..255, and gives the same, or float32 if images move.
    """
    changes = augment_changes(config)

    def augment(key: Array, images: Array) -> Array:
        for position, change in enumerate(changes):
            images = change.apply(jax.random.fold_in(key, position), images)
        return images

    return augment

"""Random erasing of a normalised batch on the accelerator, and the masks of rectangles."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

_ATTEMPTS = 10


def random_erase(
    key: Array,
    images: Array,
    *,
    probability: float,
    mode: Literal["mean", "noise"] = "mean",
    area: tuple[float, float] = (0.02, 1 / 3),
    ratio: tuple[float, float] = (0.3, 1 / 0.3),
) -> Array:
    """Erases a random rectangle of some images.

    Args:
        key: Random key.
        images: Normalised float32 [batch, height, width, channels].
        probability: Probability of each image to lose a rectangle.
        mode: `mean` fills with zero, the mean of the pixels; `noise` with normal noise.
        area: Least and greatest share of the image.
        ratio: Least and greatest height over width, drawn evenly in its logarithm.

    Returns:
        float32 array of the shape of `images`.

    References:
        Zhong et al., Random Erasing Data Augmentation, 2017.
    """
    batch, height, width, _ = images.shape
    keys = jax.random.split(key, 5)
    shape = (batch, _ATTEMPTS)
    areas = jax.random.uniform(keys[0], shape, minval=area[0], maxval=area[1]) * height * width
    limits = jnp.log(jnp.array(ratio))
    ratios = jnp.exp(jax.random.uniform(keys[1], shape, minval=limits[0], maxval=limits[1]))
    sizes = jnp.round(jnp.stack([jnp.sqrt(areas * ratios), jnp.sqrt(areas / ratios)], axis=-1))
    fits = (sizes < jnp.array([height, width])).all(axis=-1)
    first = jnp.argmax(fits, axis=1)
    size = jnp.take_along_axis(sizes, first[:, None, None], axis=1)[:, 0].astype(jnp.int32)
    room = jnp.maximum(jnp.array([height, width]) - size + 1, 1)
    corner = jax.random.randint(keys[2], (batch, 2), 0, room)
    chosen = jax.random.bernoulli(keys[3], probability, (batch,)) & fits.any(axis=1)
    box = jnp.stack([corner, corner + size], axis=-1).reshape(batch, 4)
    fill = jnp.zeros_like(images)
    if mode == "noise":
        fill = jax.random.normal(keys[4], images.shape, images.dtype)
    inside = inside_boxes(box, height, width) & chosen[:, None, None, None]
    return jnp.where(inside, fill, images)


def inside_boxes(box: Array, height: int, width: int) -> Array:
    """Masks [batch, height, width, 1] of the boxes (top, bottom, left, right)."""
    top, bottom, left, right = (edge[:, None] for edge in jnp.moveaxis(box, -1, 0))
    rows, columns = jnp.arange(height), jnp.arange(width)
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]

"""The last changes of a batch on the accelerator: random erasing, then mixup or CutMix.

Pure functions for the inside of a jitted step. The draws are timm's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from resnet_jax.data.config import AugmentConfig
from resnet_jax.data.on_device.erasing import inside_boxes, random_erase
from resnet_jax.errors import ConfigError

Mix = Callable[[Array, Array, Array], tuple[Array, Array]]
"""Maps (key, pixels, labels) to normalised images and targets: labels, or shares of the classes."""


class MixDraw(NamedTuple):
    """How each image of a batch is mixed with its partner, the image as far from the other end.

    Attributes:
        share: What stays of the image, shape [batch].
        cut: Whether a rectangle is replaced (CutMix), rather than everything blended, [batch].
        box: Top, bottom, left and right of that rectangle, [batch, 4], ends excluded.
    """

    share: Array
    cut: Array
    box: Array


def draw_mix(
    key: Array,
    batch: int,
    size: tuple[int, int],
    *,
    mixup: float,
    cutmix: float,
    probability: float = 1.0,
    switch: float = 0.5,
    mode: Literal["batch", "pair"] = "batch",
) -> MixDraw:
    """Draws how a batch is mixed.

    Args:
        key: Random key.
        batch: Number of images.
        size: Height and width of the images.
        mixup: Both parameters of the Beta distribution of mixup's share; 0 for no mixup.
        cutmix: The same for CutMix; 0 for no CutMix.
        probability: Probability that anything is mixed.
        switch: Where both are on: the probability of CutMix.
        mode: `batch` draws once for all images, `pair` once for each two that are mixed.

    Returns:
        The draw for each image; what stays of it agrees with the rectangle to the pixel.
    """
    keys = jax.random.split(key, 5)
    draws = 1 if mode == "batch" else (batch + 1) // 2
    blend = symmetric_beta(keys[0], mixup, (draws,)) if mixup else jnp.ones(draws)
    if cutmix:
        cut_share = symmetric_beta(keys[1], cutmix, (draws,))
        cut = jax.random.bernoulli(keys[2], switch if mixup else 1.0, (draws,))
    else:
        cut_share, cut = jnp.ones(draws), jnp.zeros(draws, jnp.bool_)
    used = jax.random.bernoulli(keys[3], probability, (draws,))
    share = jnp.where(used, jnp.where(cut, cut_share, blend), 1.0)
    centre = jax.random.randint(keys[4], (draws, 2), 0, jnp.array(size))
    return complete_draw(share, cut, cut_box(centre, share, size), batch, size)


def symmetric_beta(key: Array, concentration: float, shape: tuple[int, ...]) -> Array:
    """Draws from the Beta distribution with two equal parameters, by a formula of two numbers.

    JAX's sampler rejects in loops, for which the chips of a TPU exchange whether each of them is
    done.

    Args:
        key: Random key.
        concentration: Both parameters.
        shape: The shape of the draws.

    References:
        Devroye, Random variate generation in one line of code, 1996, section 3.
    """
    keys = jax.random.split(key)
    radius = (1 - jax.random.uniform(keys[0], shape)) ** (-1 / concentration) - 1
    along = jnp.cos(2 * jnp.pi * jax.random.uniform(keys[1], shape))
    return 0.5 + 0.5 * jnp.sign(along) / jnp.sqrt(1 + 1 / (radius * along**2))


def complete_draw(
    share: Array, cut: Array, box: Array, batch: int, size: tuple[int, int]
) -> MixDraw:
    """Spreads draws over a batch, and corrects the shares of those that cut.

    Args:
        share: What stays of the image, [draws]: one for all images, or one for each two.
        cut: Whether a rectangle is replaced, [draws].
        box: That rectangle, [draws, 4].
        batch: Number of images.
        size: Height and width of the images.

    Returns:
        The draw for each image.
    """
    left_over = 1 - (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2]) / (size[0] * size[1])
    share = jnp.where(cut, left_over, share)
    place = jnp.arange(batch)
    owner = jnp.minimum(jnp.minimum(place, batch - 1 - place), len(share) - 1)
    return MixDraw(share[owner], cut[owner], box[owner])


def opposite(array: Array, size: int) -> Array:
    """Gives the partners of a batch: each group of `size` rows of an array in reverse order."""
    return array.reshape(-1, size, *array.shape[1:])[:, ::-1].reshape(array.shape)


def mix_images(draw: MixDraw, images: Array, *, partners: Array) -> Array:
    """Mixes each image with its partner.

    Args:
        draw: From `draw_mix`.
        images: float32 [batch, height, width, channels].
        partners: The same.

    Returns:
        Images of the same shape.

    References:
        Zhang et al., mixup, 2017; Yun et al., CutMix, 2019.
    """
    share = draw.share[:, None, None, None]
    pasted = jnp.where(inside_boxes(draw.box, *images.shape[1:3]), partners, images)
    blended = share * images + (1 - share) * partners
    return jnp.where(draw.cut[:, None, None, None], pasted, blended)


def mix_targets(draw: MixDraw, targets: Array, *, partners: Array) -> Array:
    """Mixes the targets of `mix_images`, float32 [batch, classes] like those of the partners."""
    share = draw.share[:, None]
    return share * targets + (1 - share) * partners


def describe_mix(config: AugmentConfig) -> list[str]:
    """Says in a line each what `build_mix` does after `normalize`, in order."""
    lines = []
    if config.erase:
        fill = "noise" if config.erase_mode == "noise" else "the mean"
        probability = f"probability {config.erase:g}"
        lines.append(f"erase a rectangle with {probability}, filled with {fill}")
    if config.mixup or config.cutmix:
        kinds = (("mixup", config.mixup), ("CutMix", config.cutmix))
        used = " or ".join(f"{name} (Beta {value:g})" for name, value in kinds if value)
        group = "the batch" if config.mix_group_size is None else f"{config.mix_group_size} images"
        drawn = f"one draw a {config.mix_mode}"
        share = f"probability {config.mix_probability:g}"
        lines.append(f"mix: {used} with {share}, {drawn}, within {group}")
    return lines


def build_mix(
    config: AugmentConfig, *, num_classes: int, normalize: Callable[[Array], Array]
) -> Mix:
    """Composes what `describe_mix` says: random erasing, mixup and CutMix as a recipe asks.

    Args:
        config: What to do and how strongly; see `AugmentConfig`.
        num_classes: Width of the targets.
        normalize: Brings pixels to the units of the network, each by itself.

    Returns:
        A pure function of (key, pixels, labels), to be used inside the jitted step on the whole
        batch. Labels are int [batch], or bool [batch, num_classes] where an image may have several;
        with mixup or CutMix it gives the share of each class, float32 [batch, num_classes], and
        otherwise the labels as they are.
    """

    def shares(labels: Array) -> Array:
        return jax.nn.one_hot(labels, num_classes) if labels.ndim == 1 else labels * 1.0

    def mix(key: Array, pixels: Array, labels: Array) -> tuple[Array, Array]:
        erase_key, mix_key = jax.random.split(key)
        images = normalize(pixels)
        if config.erase:
            images = random_erase(
                erase_key, images, probability=config.erase, mode=config.erase_mode
            )
        if not (config.mixup or config.cutmix):
            return images, labels
        size = config.mix_group_size or len(images)
        draw = _draw_groups(config, mix_key, images.shape[:3], size)
        # A partner on another chip is fetched: as bytes and a label, unless it is erased first.
        partners = opposite(images, size) if config.erase else normalize(opposite(pixels, size))
        targets = mix_targets(draw, shares(labels), partners=shares(opposite(labels, size)))
        return mix_images(draw, images, partners=partners), targets

    return mix


def _draw_groups(config: AugmentConfig, key: Array, shape: tuple[int, ...], size: int) -> MixDraw:
    """Draws for each group of images by itself, as each process of a PyTorch run does."""
    batch, height, width = shape
    if batch % size:
        raise ConfigError(
            f"augment.mix_group_size={size} does not divide a batch of {batch} images; choose one "
            "that does, or none"
        )

    def draw(key: Array) -> MixDraw:
        return draw_mix(
            key,
            size,
            (height, width),
            mixup=config.mixup,
            cutmix=config.cutmix,
            probability=config.mix_probability,
            switch=config.mix_switch,
            mode=config.mix_mode,
        )

    if size == batch:
        return draw(key)
    draws = jax.vmap(draw)(jax.random.split(key, batch // size))
    return jax.tree.map(lambda array: array.reshape(batch, *array.shape[2:]), draws)


def cut_box(centre: Array, share: Array, size: tuple[int, int]) -> Array:
    """Gives rectangles of the area 1 - share around a centre, cut off at the edges of the image.

    Args:
        centre: Row and column, int [draws, 2].
        share: What stays of the image, [draws].
        size: Height and width of the image.

    Returns:
        Top, bottom, left and right, int [draws, 4], ends excluded.
    """
    sides = jnp.array(size)
    length = jnp.floor(sides * jnp.sqrt(1 - share)[:, None]).astype(jnp.int32)
    first = jnp.clip(centre - length // 2, 0, sides)
    last = jnp.clip(centre + (length + 1) // 2, 0, sides)
    return jnp.stack([first, last], axis=-1).reshape(-1, 4)

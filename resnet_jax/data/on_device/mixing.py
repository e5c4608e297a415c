"""Changes of a normalised batch on the accelerator: mixup and CutMix, after random erasing.

Pure functions for the inside of a jitted step, after `normalize`. The draws are timm's.
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
"""Maps (key, images, labels) to (images, targets): the labels, or shares of the classes."""


class MixChange(NamedTuple):
    """A random change of a batch and its targets, and the line that says so.

    Attributes:
        line: What it does.
        mixes: Whether it needs shares of the classes for targets, rather than labels.
        apply: The function.
    """

    line: str
    mixes: bool
    apply: Mix


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


def apply_mix(draw: MixDraw, images: Array, targets: Array) -> tuple[Array, Array]:
    """Mixes each image, and its target, with its partner's.

    Args:
        draw: From `draw_mix`.
        images: float32 [batch, height, width, channels].
        targets: float32 [batch, classes].

    Returns:
        Images and targets of the same shapes.

    References:
        Zhang et al., mixup, 2017; Yun et al., CutMix, 2019.
    """
    partners = images[::-1]
    share = draw.share[:, None, None, None]
    pasted = jnp.where(inside_boxes(draw.box, *images.shape[1:3]), partners, images)
    blended = share * images + (1 - share) * partners
    mixed = jnp.where(draw.cut[:, None, None, None], pasted, blended)
    weight = draw.share[:, None]
    return mixed, weight * targets + (1 - weight) * targets[::-1]


def mix_changes(config: AugmentConfig) -> list[MixChange]:
    """Lists the changes of a recipe that come after `normalize`, in order."""
    changes: list[MixChange] = []
    if config.erase:

        def erase(key: Array, images: Array, targets: Array) -> tuple[Array, Array]:
            erased = random_erase(key, images, probability=config.erase, mode=config.erase_mode)
            return erased, targets

        line = f"erase a rectangle with probability {config.erase:g}, filled with "
        fill = "noise" if config.erase_mode == "noise" else "the mean"
        changes.append(MixChange(line + fill, mixes=False, apply=erase))
    if config.mixup or config.cutmix:
        changes.append(
            MixChange(
                _describe_mix(config),
                mixes=True,
                apply=lambda key, images, targets: _mix_groups(config, key, images, targets),
            )
        )
    return changes


def _describe_mix(config: AugmentConfig) -> str:
    kinds = (("mixup", config.mixup), ("CutMix", config.cutmix))
    used = " or ".join(f"{name} (Beta {value:g})" for name, value in kinds if value)
    group = "the batch" if config.mix_group_size is None else f"{config.mix_group_size} images"
    drawn = f"one draw a {config.mix_mode}"
    return f"mix: {used} with probability {config.mix_probability:g}, {drawn}, within {group}"


def build_mix(config: AugmentConfig, *, num_classes: int) -> Mix:
    """Composes `mix_changes`: random erasing, mixup and CutMix as a recipe asks for them.

    Args:
        config: What to do and how strongly; see `AugmentConfig`.
        num_classes: Width of the targets.

    Returns:
        A pure function of (key, images, labels), to be used inside the jitted step after
        `normalize`, on the whole batch. Labels are int [batch], or bool [batch, num_classes] where
        an image may have several; with mixup or CutMix it gives the share of each class, float32
        [batch, num_classes], and otherwise the labels as they are.
    """
    changes = mix_changes(config)

    def mix(key: Array, images: Array, labels: Array) -> tuple[Array, Array]:
        erase_key, mix_key = jax.random.split(key)
        targets = labels
        for change in changes:
            if change.mixes:
                one_class = labels.ndim == 1
                targets = jax.nn.one_hot(labels, num_classes) if one_class else labels * 1.0
            images, targets = change.apply(mix_key if change.mixes else erase_key, images, targets)
        return images, targets

    return mix


def _mix_groups(
    config: AugmentConfig, key: Array, images: Array, targets: Array
) -> tuple[Array, Array]:
    """Mixes each group of images by itself, as each process of a PyTorch run does its own batch."""
    batch, size = len(images), config.mix_group_size or len(images)
    if batch % size:
        raise ConfigError(
            f"augment.mix_group_size={size} does not divide a batch of {batch} images; choose one "
            "that does, or none"
        )

    def mix(key: Array, images: Array, targets: Array) -> tuple[Array, Array]:
        draw = draw_mix(
            key,
            size,
            (images.shape[1], images.shape[2]),
            mixup=config.mixup,
            cutmix=config.cutmix,
            probability=config.mix_probability,
            switch=config.mix_switch,
            mode=config.mix_mode,
        )
        return apply_mix(draw, images, targets)

    if size == batch:
        return mix(key, images, targets)
    groups = (array.reshape(-1, size, *array.shape[1:]) for array in (images, targets))
    mixed, shares = jax.vmap(mix)(jax.random.split(key, batch // size), *groups)
    return mixed.reshape(images.shape), shares.reshape(targets.shape)


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

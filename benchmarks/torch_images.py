"""The random changes of a recipe in PyTorch: its own random numbers, with our distributions."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from resnet_jax.data.config import AugmentConfig, DataConfig

_ATTEMPTS = 10  # at a rectangle that fits into the image


def to_torch(images: NDArray[np.uint8]) -> Tensor:
    """Gives float32 [batch, channels, height, width] in units of 0..255."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def normalized(images: Tensor, data: DataConfig) -> Tensor:
    """Brings pixels to the units of the recipe."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return (images / 255 - mean) / std


def change(images: Tensor, augment: AugmentConfig, data: DataConfig) -> Tensor:
    """Crops, flips, normalizes and erases at random, as the recipe says."""
    if augment.pad_crop:
        images = random_crop(images, augment.pad_crop)
    if augment.flip:
        chosen = torch.rand(len(images), 1, 1, 1) < augment.flip
        images = torch.where(chosen, images.flip(3), images)
    images = normalized(images, data)
    return random_erase(images, augment.erase) if augment.erase else images


def random_crop(images: Tensor, pad: int) -> Tensor:
    """Pads each image with black and cuts a window of the old size from a random place."""
    batch, channels, height, width = images.shape
    padded = functional.pad(images, (pad,) * 4)
    top, left = torch.randint(0, 2 * pad + 1, (2, batch, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    numbers = torch.arange(batch).view(-1, 1, 1, 1)
    features = torch.arange(channels).view(1, -1, 1, 1)
    return padded[numbers, features, rows[:, None, :, None], columns[:, None, None, :]]


def random_erase(images: Tensor, probability: float) -> Tensor:
    """Sets a rectangle of some images to zero, the mean, with the sizes of our `random_erase`."""
    batch, _, height, width = images.shape
    shape = (batch, _ATTEMPTS)
    areas = (0.02 + (1 / 3 - 0.02) * torch.rand(shape)) * height * width
    ratios = torch.exp(math.log(0.3) * (1 - 2 * torch.rand(shape)))
    sizes = torch.stack([(areas * ratios).sqrt(), (areas / ratios).sqrt()], dim=-1).round()
    fits = (sizes < torch.tensor([height, width])).all(dim=-1)
    size = sizes[torch.arange(batch), fits.int().argmax(dim=1)]
    room = (torch.tensor([height, width]) - size + 1).clamp(min=1)
    first = (torch.rand(batch, 2) * room).floor()
    chosen = (torch.rand(batch) < probability) & fits.any(dim=1)

    def inside(length: int, axis: int) -> Tensor:
        places = torch.arange(length)
        return (places >= first[:, axis, None]) & (places < (first + size)[:, axis, None])

    boxes = inside(height, 0)[:, :, None] & inside(width, 1)[:, None, :]
    return images.masked_fill((boxes & chosen[:, None, None])[:, None], 0.0)

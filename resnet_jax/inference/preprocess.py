"""Images to the input of a network, in one line: `resnet_jax.preprocessing`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_jax.data.images.decode import decode_image
from resnet_jax.data.images.pillow import decode_opened
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.transforms import eval_transform
from resnet_jax.errors import ConfigError
from resnet_jax.inference.inputs import FilePath, find_inputs, published_inputs
from resnet_jax.local_paths import user_path
from resnet_jax.models import Backbone, ResNet
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.zoo import Preprocessing, known_inputs


@dataclasses.dataclass(frozen=True)
class Preprocessor:
    """Turns images into the input of a network, as in the evaluation of its weights.

    Attributes:
        inputs: What the network expects.
        origin: Where that is known from.
    """

    inputs: NetworkInputs
    origin: str

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The name of each output of the network; None if they are not known."""
        return self.inputs.class_names

    def __call__(self, images: Any) -> NDArray[np.float32]:
        """Decodes, resizes, crops and normalises images.

        Args:
            images: A path, the content of a file as bytes, a PIL image, or pixels as an array,
                uint8 [height, width] or [height, width, channels]; or a batch: a list or tuple of
                these, or an array with one more axis. Images are turned upright by their EXIF
                orientation.

        Returns:
            float32 [height, width, channels], or [batch, height, width, channels].

        Raises:
            ConfigError: An array is not uint8, or the images of a batch end up with several sizes.
            BadImageError: A file is not an image, damaged or too large.
            OSError: A file cannot be read.
        """
        if _is_batch(images):
            return _stacked([self._prepare(image) for image in images])
        return self._prepare(images)

    def _prepare(self, image: Any) -> NDArray[np.float32]:
        inputs = self.inputs
        opened = _open(image, channels=inputs.channels)
        transform = eval_transform(inputs)
        if transform is not None:  # the crop is central: no random number is drawn
            opened = transform(Record(opened, 0), np.random.default_rng(0))
        elif isinstance(opened, bytes):
            opened = decode_image(opened, channels=inputs.channels)
        mean, std = (np.asarray(values, np.float32) for values in (inputs.mean, inputs.std))
        scaled = opened.astype(np.float32) / np.float32(255)
        return ((scaled - mean) / std).astype(np.float32)

    def __str__(self) -> str:
        """Describes the preprocessing in a line."""
        size = f"{self.inputs.size} px" if self.inputs.size else "images as they are"
        return (
            f"{size}, crop_fraction={self.inputs.crop_fraction:g}, {self.inputs.interpolation}, "
            f"mean={self.inputs.mean}, std={self.inputs.std}: {self.origin}"
        )


def preprocessing(source: FilePath | ResNet | Backbone) -> Preprocessor:
    """Returns what turns images into the input of a trained network.

    ```python
    prepare = resnet_jax.preprocessing("resnet50.a1_in1k")
    logits = model(prepare(["cat.jpg", "dog.png"]))     # float32 [2, 224, 224, 3] goes in
    print(prepare.labels[logits[0].argmax()])
    ```

    Pixels differ by at most one grey level from those of timm's
    `create_transform(**resolve_data_config({}, model=model), is_training=False)`.

    Args:
        source: The name of a network, with the tag of its weights or without, for the usual ones
            (`resnet50.a1_in1k`, `resnet50`); a file of `resnet_jax.save`; the folder of a run; or
            a network that `create_model` or `load` has built.

    Returns:
        The preprocessor; its `origin` says where the record comes from, its `labels` are the names
        of the network's outputs.

    Raises:
        ConfigError: There is no such network, or nothing is known about the weights of this one.
        WeightsError: The file cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        return Preprocessor(find_inputs(source), origin=os.fspath(source))
    known = known_inputs(source)
    if known is None:
        raise ConfigError(
            "this network is not one that create_model or load returned (perhaps a copy), and does "
            "not say what its weights expect of images: give resnet_jax.preprocessing the name or "
            "the file of its weights"
        )
    inputs, classes = known.inputs, source.config.num_classes
    if isinstance(inputs, Preprocessing):
        inputs = published_inputs(inputs, num_classes=classes)
    if inputs.class_names is not None and len(inputs.class_names) != classes:
        inputs = inputs.named(None)
    return Preprocessor(inputs, origin=known.origin)


def _is_batch(images: Any) -> bool:
    if isinstance(images, list | tuple):
        return True
    return not isinstance(images, str | bytes | Image.Image) and getattr(images, "ndim", 0) == 4


def _open(image: Any, *, channels: int) -> bytes | NDArray[np.uint8]:
    """Gives the content of a file, or pixels with the network's channels."""
    if isinstance(image, str | os.PathLike):
        return user_path(image).read_bytes()
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, Image.Image):
        return decode_opened(image, channels=channels)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ConfigError(
            f"pixels are {pixels.dtype} {list(pixels.shape)}: give uint8 [height, width, "
            "channels], 0 to 255; numbers in 0..1 and normalised ones look alike"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4):
        raise ConfigError(f"pixels have {pixels.shape[2]} channels: give 1, 3 (RGB) or 4 (RGBA)")
    return decode_opened(Image.fromarray(pixels), channels=channels)


def _stacked(images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    if not images:
        raise ConfigError("there is no image in the batch")
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        raise ConfigError(
            f"the images of a batch need one size, and these have {len(sizes)}: the network takes "
            "images as they are, so resize them, or replace inputs.size"
        )
    return np.stack(images)

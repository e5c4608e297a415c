"""Shows where in an image a network looks: Grad-CAM."""

from __future__ import annotations

import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from PIL import Image

from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.inference.classifier import probabilities_of
from resnet_jax.inference.trained import Trained
from resnet_jax.layers import GLOBAL_POOLS
from resnet_jax.models import ResNet

SHOWN_SIZE = 224
"""Overlays of smaller images are enlarged by an integer factor, up to about this many pixels."""


def resolve_stage(model: ResNet, stage: int) -> int:
    """Turns a stage that may count from the end into 0 (the stem) to the number of stages.

    Raises:
        ConfigError: The network has no such stage.
    """
    count = len(model.stages)
    if not -count - 1 <= stage <= count:
        raise ConfigError(
            f"stage={stage}: the network has the stages 1 to {count}, and 0 after the stem; "
            "negative ones count from the end"
        )
    return stage % (count + 1)


def stage_map(model: ResNet, images: jax.Array, stage: int) -> jax.Array:
    """Computes the feature map of a stage, which Grad-CAM weights.

    For the last stage this is the map that the classifier pools; in pre-activation networks it
    includes the final norm and activation. The other maps are those of `model.features`.

    Args:
        model: The network, in evaluation mode.
        images: Normalised [batch, height, width, channels].
        stage: 0 to the number of stages.
    """
    found = model.features(images)[stage]
    return model.act(model.norm(found)) if stage == len(model.stages) else found


def logits_of_map(model: ResNet, found: jax.Array, stage: int) -> jax.Array:
    """Computes the logits from a map of `stage_map` with the remaining layers of the network."""
    if stage == len(model.stages):
        return model.head(GLOBAL_POOLS[model.config.global_pool].apply(found))
    x = model.stem.pool(found) if stage == 0 else found
    for blocks in list(model.stages)[stage:]:
        for block in blocks:
            x = block(x)
    return model.forward_head(x)


def grad_cam(
    model: ResNet, images: jax.Array, classes: jax.Array | None = None, *, stage: int = -1
) -> tuple[jax.Array, jax.Array]:
    """Computes Grad-CAM: the maps of a stage, weighted by their effect on a class.

    Args:
        model: The network, in evaluation mode.
        images: Normalised [batch, height, width, channels].
        classes: The class of each image [batch]; None takes the most likely one.
        stage: From 1; 0 is the stem, and negative numbers count from the end.

    Returns:
        `relu(sum_k a_k A_k)` [batch, rows, columns] with `a_k` the mean over space of the
        gradient of the class's logit with respect to the stage's map `A_k`; and the classes.

    References:
        Selvaraju et al. 2017, equations 1 and 2, https://arxiv.org/abs/1610.02391.
    """
    at = resolve_stage(model, stage)
    maps = stage_map(model, images, at)
    logits, pull_back = jax.vjp(lambda found: logits_of_map(model, found, at), maps)
    if classes is None:
        classes = logits.argmax(axis=-1)
    # In evaluation mode the images of a batch are independent: one backward pass is enough.
    (gradients,) = pull_back(jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype))
    weights = gradients.astype(jnp.float32).mean(axis=(1, 2), keepdims=True)
    return nnx.relu((weights * maps.astype(jnp.float32)).sum(axis=-1)), classes


class Explainer:
    """Grad-CAM of one image at a time, compiled.

    Args:
        trained: The network.
        stage: As for `grad_cam`.
    """

    def __init__(self, trained: Trained, *, stage: int = -1) -> None:
        graph, state = nnx.split(trained.model)
        stage = resolve_stage(trained.model, stage)
        inputs = trained.inputs

        def explain(state: Any, images: jax.Array, wanted: jax.Array) -> Any:
            model = nnx.merge(graph, state)
            x = normalize(images, inputs.mean, inputs.std)
            probabilities = probabilities_of(trained, model(x))
            classes = jnp.where(wanted < 0, probabilities.argmax(axis=-1), wanted)
            return grad_cam(model, x, classes, stage=stage)[0], classes, probabilities

        self.trained = trained
        self._state = state
        self._explain = jax.jit(explain)

    def __call__(
        self, image: NDArray[np.uint8], index: int | None = None
    ) -> tuple[NDArray[np.float32], int, NDArray[np.float32]]:
        """Explains one image.

        Args:
            image: uint8 [height, width, channels].
            index: The class to explain; None takes the most likely one.

        Returns:
            The map [rows, columns], the class, and the probabilities of all classes.
        """
        wanted = jnp.array([-1 if index is None else index])
        cam, classes, probabilities = self._explain(self._state, image[None], wanted)
        return np.asarray(cam[0]), int(classes[0]), np.asarray(probabilities[0])


def overlay(
    image: NDArray[np.uint8], cam: NDArray[np.float32], *, strength: float = 0.5
) -> Image.Image:
    """Overlays a map on an image, in colours from blue (zero) to red (the maximum).

    Args:
        image: uint8 [height, width, channels].
        cam: [rows, columns], not negative.
        strength: Opacity of the colours, from 0 to 1.

    Returns:
        An image of the same size, enlarged by an integer factor if it is small.
    """
    from matplotlib import colormaps

    height, width = image.shape[:2]
    factor = max(1, SHOWN_SIZE // max(height, width))
    size = (width * factor, height * factor)
    heat = cam / cam.max() if cam.max() > 0 else np.zeros_like(cam)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    colours = colormaps["turbo"](np.asarray(smooth).clip(0, 1), bytes=True)[..., :3]
    shown = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("RGB")
    enlarged = shown.resize(size, Image.Resampling.NEAREST)
    return Image.blend(enlarged, Image.fromarray(np.ascontiguousarray(colours)), strength)


def png(image: Image.Image) -> bytes:
    """Encodes an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()

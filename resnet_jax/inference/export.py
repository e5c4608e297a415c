"""Exports a trained network for programs that do not use this library."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.inference.folding import fold_batch_norm
from resnet_jax.inference.inputs import FilePath
from resnet_jax.inference.trained import Trained
from resnet_jax.local_paths import user_path
from resnet_jax.models import ResNet
from resnet_jax.plain_json import json_text
from resnet_jax.weights import to_torch
from resnet_jax.weights.files import write_safetensors
from resnet_jax.weights.own_files import torch_metadata
from resnet_jax.whole_files import write_bytes, write_text

Format = Literal["stablehlo", "onnx", "safetensors"]
PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIXES: dict[str, Format] = {
    ".stablehlo": "stablehlo",
    ".onnx": "onnx",
    ".safetensors": "safetensors",
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that `export` wrote.

    Attributes:
        path: The file.
        format: Its format.
        size: Its length in bytes.
        description: The file next to it that describes inputs and outputs; None for weights.
    """

    path: AnyPath
    format: Format
    size: int
    description: AnyPath | None


def export(
    trained: Trained, path: FilePath, *, fold: bool = False, from_pixels: bool = False
) -> Exported:
    """Exports a network; the suffix of the file selects the format.

    - `.stablehlo`: a function serialised by `jax.export`, for any batch size, on CPU, CUDA and
      TPU. Only jax is needed to load and run it.
    - `.onnx`: for onnxruntime and other runtimes, for any batch size. Its metadata describe it.
    - `.safetensors`: the weights in timm's naming and PyTorch's layout. Its metadata say what this
      library needs to know to use them: preprocessing and class names.

    Args:
        trained: The network; functions take images of `trained.inputs.size`.
        path: The file.
        fold: Fold BatchNorm into the convolutions.
        from_pixels: Include the normalisation: the function takes uint8 pixels.

    Returns:
        The file. `NAME.json` next to an exported function describes it.

    Raises:
        ConfigError: The format is unknown or does not support the options, or the image size is
            not known.
        OSError: The file cannot be written.
    """
    file = user_path(path)
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"{file}: name it {', '.join('*' + suffix for suffix in SUFFIXES)}")
    kind = SUFFIXES[file.suffix]
    if kind == "safetensors":
        if fold or from_pixels:
            raise ConfigError(f"{file} holds weights only: fold and from_pixels do not apply")
        write_safetensors(str(file), to_torch(trained.model), torch_metadata(trained.inputs))
        size = file.file().size if isinstance(file, BucketPath) else file.stat().st_size
        return Exported(file, kind, size, None)
    if kind == "onnx":
        # ONNX runtimes have no bfloat16 on CPUs.
        trained = dataclasses.replace(trained, model=in_float32(trained.model))
    function, image = exported_function(trained, fold=fold, from_pixels=from_pixels)
    description = describe_export(trained, image)
    if kind == "onnx":
        from resnet_jax.inference.onnx.convert import to_onnx

        content = to_onnx(function, image, properties=description)
    else:
        content = to_stablehlo(function, image)
    write_bytes(file, content)
    description_file = file.with_name(file.name + ".json")
    write_text(description_file, json_text(description, indent=2) + "\n")
    return Exported(file, kind, len(content), description_file)


def exported_function(
    trained: Trained, *, fold: bool, from_pixels: bool
) -> tuple[Callable[[jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """Turns a network into a function of a batch that contains the network's arrays.

    Args:
        trained: The network.
        fold: Fold BatchNorm into the convolutions.
        from_pixels: Take uint8 pixels instead of normalised float32.

    Returns:
        A function that returns float32 logits [batch, classes], and the shape and dtype of one
        image of its input.

    Raises:
        ConfigError: The image size is not known.
    """
    inputs = trained.inputs
    if inputs.size is None:
        raise ConfigError(
            f"the image size of {trained.origin} is not known; give it with --inputs.size=N"
        )
    model = fold_batch_norm(trained.model) if fold else trained.model
    graph, state = nnx.split(model)
    arrays = jax.tree.map(np.asarray, nnx.to_pure_dict(state))

    def function(images: jax.Array) -> jax.Array:
        if from_pixels:
            images = normalize(images, inputs.mean, inputs.std)
        return nnx.merge(graph, nnx.State(arrays))(images)

    shape = (inputs.size, inputs.size, inputs.channels)
    return function, jax.ShapeDtypeStruct(shape, jnp.uint8 if from_pixels else jnp.float32)


def in_float32(model: ResNet) -> ResNet:
    """Returns a network in evaluation mode that computes in float32 with the same arrays.

    Args:
        model: A network of any compute dtype; it is not changed.
    """
    plain = nnx.eval_shape(lambda: ResNet(model.config, rngs=nnx.Rngs(0)))
    nnx.update(plain, nnx.state(model))
    plain.eval()
    return plain


def to_stablehlo(function: Callable[[jax.Array], jax.Array], image: jax.ShapeDtypeStruct) -> bytes:
    """Serialises a function of a batch of images for all platforms and batch sizes.

    Args:
        function: Maps [batch, height, width, channels] to [batch, classes].
        image: Shape and dtype of one image.

    Returns:
        Bytes for `jax.export.deserialize`.
    """
    from jax import export as jax_export

    (batch,) = jax_export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *image.shape), image.dtype)
    exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)(images)
    return bytes(exported.serialize())


def describe_export(trained: Trained, image: jax.ShapeDtypeStruct) -> dict[str, Any]:
    """Describes the inputs and outputs of an exported function as plain values.

    Args:
        trained: The network.
        image: Shape and dtype of one image of the function's input.
    """
    takes_pixels = image.dtype == jnp.uint8
    return {
        "model": trained.origin,
        "input": {
            "shape": ["batch", *image.shape],
            "dtype": str(image.dtype),
            "units": "pixels, 0 to 255" if takes_pixels else "(pixels / 255 - mean) / std",
        },
        "output": {
            "shape": ["batch", trained.num_classes],
            "dtype": "float32",
            "units": "logits",
            "probabilities": "sigmoid" if trained.inputs.multi_label else "softmax",
        },
        "preprocessing": trained.inputs.preprocessing(),
        "class_names": trained.class_names,
    }

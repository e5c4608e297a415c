"""Writes a trained network for programs that know nothing of this library."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_jax.data.on_device.augment import normalize
from resnet_jax.errors import ConfigError
from resnet_jax.inference.folding import fold_batch_norm
from resnet_jax.inference.trained import FilePath, Trained
from resnet_jax.models import ResNet
from resnet_jax.training.workdir.layout import write_bytes, write_text
from resnet_jax.weights import to_torch
from resnet_jax.weights.files import write_safetensors

Format = Literal["stablehlo", "onnx", "safetensors"]
PLATFORMS = ("cpu", "cuda", "tpu")
SUFFIXES: dict[str, Format] = {
    ".stablehlo": "stablehlo",
    ".onnx": "onnx",
    ".safetensors": "safetensors",
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        format: Its format.
        size: Its length in bytes.
        description: The file beside it that says what goes in and out; None for weights.
    """

    path: pathlib.Path
    format: Format
    size: int
    description: pathlib.Path | None


def export(
    trained: Trained, path: FilePath, *, fold: bool = False, from_pixels: bool = False
) -> Exported:
    """Writes a network in the format that the name of the file says.

    - `.stablehlo`: the serialised function of `jax.export`, for any batch size, on CPU, CUDA and
      TPU. jax alone loads and runs it.
    - `.onnx`: for onnxruntime and others, for any batch size.
    - `.safetensors`: the weights in timm's naming and PyTorch's layout.

    Args:
        trained: The network; functions take pictures of `trained.inputs.size`.
        path: The file.
        fold: Fold BatchNorm into the convolutions.
        from_pixels: Bake the normalisation in: the function takes uint8 pixels.

    Returns:
        What was written. Beside a function lies `NAME.json`, which describes it.

    Raises:
        ConfigError: The format is unknown or does not go with the options, or the size of the
            pictures is not known.
        OSError: The file cannot be written.
    """
    file = pathlib.Path(path)
    if file.suffix not in SUFFIXES:
        raise ConfigError(f"{file}: name it {', '.join('*' + suffix for suffix in SUFFIXES)}")
    kind = SUFFIXES[file.suffix]
    if kind == "safetensors":
        if fold or from_pixels:
            raise ConfigError(f"{file} holds weights alone: nothing is folded or baked into them")
        write_safetensors(file, to_torch(trained.model), {"format": "pt"})
        return Exported(file, kind, file.stat().st_size, None)
    if kind == "onnx":
        # What runs ONNX on a CPU has no bfloat16.
        trained = dataclasses.replace(trained, model=in_float32(trained.model))
    function, pixels = exported_function(trained, fold=fold, from_pixels=from_pixels)
    if kind == "onnx":
        from resnet_jax.inference.onnx.convert import to_onnx

        content = to_onnx(function, pixels)
    else:
        content = to_stablehlo(function, pixels)
    write_bytes(file, content)
    description = file.with_name(file.name + ".json")
    write_text(description, describe_export(trained, pixels) + "\n")
    return Exported(file, kind, len(content), description)


def exported_function(
    trained: Trained, *, fold: bool, from_pixels: bool
) -> tuple[Callable[[jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """Gives a network as a function of a batch alone, its arrays inside.

    Args:
        trained: The network.
        fold: Fold BatchNorm into the convolutions.
        from_pixels: Take uint8 pixels in place of normalised float32.

    Returns:
        The function to float32 logits [batch, classes], and one picture of its input.

    Raises:
        ConfigError: The size of the pictures is not known.
    """
    inputs = trained.inputs
    if inputs.size is None:
        raise ConfigError(
            f"the size of the pictures of {trained.origin} is not known; give it with "
            "--inputs.size=N"
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
    """Gives a network in evaluation mode that computes the same in float32, with the same arrays.

    Args:
        model: A network of any dtype of computation; it stays as it is.
    """
    plain = nnx.eval_shape(lambda: ResNet(model.config, rngs=nnx.Rngs(0)))
    nnx.update(plain, nnx.state(model))
    plain.eval()
    return plain


def to_stablehlo(
    function: Callable[[jax.Array], jax.Array], picture: jax.ShapeDtypeStruct
) -> bytes:
    """Serialises a function of a batch of pictures for every platform and batch size.

    Args:
        function: Maps [batch, height, width, channels] to [batch, classes].
        picture: Shape and dtype of one picture.

    Returns:
        What `jax.export.deserialize` takes.
    """
    from jax import export as jax_export

    (batch,) = jax_export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *picture.shape), picture.dtype)
    exported = jax_export.export(jax.jit(function), platforms=PLATFORMS)(images)
    return bytes(exported.serialize())


def describe_export(trained: Trained, picture: jax.ShapeDtypeStruct) -> str:
    """Says as JSON what an exported function takes and gives.

    Args:
        trained: The network.
        picture: Shape and dtype of one picture of the function's input.
    """
    pixels = picture.dtype == jnp.uint8
    values: dict[str, Any] = {
        "model": trained.origin,
        "input": {
            "shape": ["batch", *picture.shape],
            "dtype": str(picture.dtype),
            "units": "pixels, 0 to 255" if pixels else "(pixels / 255 - mean) / std",
        },
        "output": {"shape": ["batch", trained.num_classes], "dtype": "float32", "units": "logits"},
        "preprocessing": dataclasses.asdict(trained.inputs),
        "class_names": trained.class_names,
    }
    return json.dumps(values, indent=2, ensure_ascii=False)

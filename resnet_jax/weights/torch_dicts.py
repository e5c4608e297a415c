"""Writes modules of this library as PyTorch state dicts."""

import functools
from collections.abc import Iterator, Mapping

import numpy as np
from flax import nnx

from resnet_jax.weights import arrays, names
from resnet_jax.weights.leaves import Leaf, marked_leaves


def to_torch(module: nnx.Module) -> dict[str, np.ndarray]:
    """Returns the state dict of a network or block for PyTorch.

    The keys are timm's (for ResNets also torchvision's), and the arrays have PyTorch's layouts.
    Running statistics come with a counter `num_batches_tracked` of 0, so that
    `load_state_dict(strict=True)` accepts the result. `load_torch` restores it bit for bit.

    Args:
        module: A network or block of this library.

    Returns:
        Key -> NumPy array in the dtype of the parameter. `torch.from_numpy` takes these arrays,
        except for bfloat16, which PyTorch reads only from a `.safetensors` file.
    """
    state_dict: dict[str, np.ndarray] = {}
    for leaf, key, pointwise in _torch_leaves(module):
        array = arrays.to_torch_layout(leaf.name, leaf.value)
        state_dict[key] = array[:, :, None, None] if pointwise else array
        if leaf.name == "mean":
            state_dict[names.counter_key(key)] = np.zeros((), np.int64)
    return state_dict


def torch_arrays(
    module: nnx.Module, held: Mapping[str, arrays.ArrayInFile]
) -> dict[str, arrays.ArrayInFile]:
    """Returns the state dict that `to_torch` would, of a module whose arrays are in a file.

    Args:
        module: The module, without values.
        held: Its arrays, by dotted path.
    """

    def read(name: str, array: arrays.ArrayInFile, shape: arrays.Shape) -> np.ndarray:
        return arrays.to_torch_layout(name, array.read()).reshape(shape)

    state_dict = {}
    for leaf, key, pointwise in _torch_leaves(module):
        path = ("shortcut" if part == names.POOLED else str(part) for part in leaf.path)
        array = held[".".join(path)]
        shape = (*leaf.torch_shape, 1, 1) if pointwise else leaf.torch_shape
        converted = functools.partial(read, leaf.name, array, shape)
        state_dict[key] = arrays.ArrayInFile(shape, array.dtype, converted)
    return state_dict


def _torch_leaves(module: nnx.Module) -> Iterator[tuple[Leaf, str, bool]]:
    """Yields each leaf, its key in timm, and whether it is a matrix that is a 1x1 kernel there."""
    parts = [part for _, part in nnx.iter_modules(module)]
    preactivation = any(getattr(part, "preactivation", False) for part in parts)
    dialect = names.RESNETV2 if preactivation else names.RESNET
    for leaf in marked_leaves(module):
        key = names.torch_key(leaf.path, dialect)
        yield leaf, key, len(leaf.torch_shape) == 2 and names.is_pointwise(key, dialect)

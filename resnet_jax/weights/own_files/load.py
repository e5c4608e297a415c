"""Rebuilds a network from its file."""

import contextlib
from typing import Literal, cast, overload

import numpy as np
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError
from resnet_jax.models import Backbone, ResNet
from resnet_jax.weights.arrays import ArrayInFile, is_floats
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import FilePath
from resnet_jax.weights.leaves import leaves_of
from resnet_jax.weights.own_files.fit import mismatch_of, skeleton_of
from resnet_jax.weights.own_files.record import ModelRecord, open_own
from resnet_jax.zoo import remember_inputs


@overload
def load(
    path: FilePath,
    *,
    features_only: Literal[False] = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet: ...


@overload
def load(
    path: FilePath,
    *,
    features_only: Literal[True],
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> Backbone: ...


@overload
def load(
    path: FilePath,
    *,
    features_only: bool,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet | Backbone: ...


def load(
    path: FilePath,
    *,
    features_only: bool = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
) -> ResNet | Backbone:
    """Rebuilds a network from a file of `save`, in training mode.

    Args:
        path: The file.
        features_only: Return a `Backbone`: the one in the file, or that of the network in the
            file, with all maps.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype of the stored parameters; None takes the file's.

    Raises:
        WeightsError: The file is missing or damaged, has another format or a newer version, or
            holds a backbone and `features_only` is False.
    """
    model, arrays, record = _open(path, features_only, dtype, param_dtype)
    for leaf in leaves_of(model):  # one after the other: memory holds the network once
        leaf.assign(arrays[leaf.dotted].read())
    if features_only and isinstance(model, ResNet):
        model = Backbone(model)
    with contextlib.suppress(ConfigError):  # of a record, which the weights do without
        remember_inputs(model, record.inputs(), origin=f"recorded in {path}")
    return model


def open_model(
    path: FilePath, *, dtype: DTypeLike | None = None, param_dtype: DTypeLike | None = None
) -> tuple[ResNet, dict[str, ArrayInFile]]:
    """Builds the network in a file as `load` does, without values.

    Returns:
        The network, and its arrays by their dotted paths.
    """
    model, arrays, _ = _open(path, False, dtype, param_dtype)
    return cast(ResNet, model), arrays


def _open(
    path: FilePath,
    features_only: bool,
    dtype: DTypeLike | None,
    param_dtype: DTypeLike | None,
) -> tuple[ResNet | Backbone, dict[str, ArrayInFile], ModelRecord]:
    arrays, record = open_own(path)
    kernels = [
        array.dtype
        for name, array in arrays.items()
        if name.endswith("kernel") and is_floats(array)
    ]
    if param_dtype is None:
        param_dtype = kernels[0] if kernels else np.float32
    if record.out_indices and not features_only:
        raise WeightsError(
            f"{path} holds a backbone, without a head; load it with features_only=True."
        )
    model = skeleton_of(record.config, record.out_indices, dtype=dtype, param_dtype=param_dtype)
    if mismatch := mismatch_of(model, arrays):
        raise WeightsError(f"{path} does not match its own config; download it again: {mismatch}")
    return model, arrays, record

"""Whether a network is what its config builds."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx

from resnet_jax.errors import shown
from resnet_jax.models import Backbone, ResNet, ResNetConfig
from resnet_jax.weights.arrays import ArrayInFile, is_floats
from resnet_jax.weights.errors import Mismatch, listed
from resnet_jax.weights.leaves import leaves_of, skeleton

# Attributes that are no part of the network: its mode and how it computes.
_FREE = frozenset(
    {
        *("deterministic", "use_running_average"),
        *("dtype", "param_dtype", "precision", "preferred_element_type", "promote_dtype"),
        *("rngs", "config", "feature_info"),
    }
)
_PICKLE = "pickle.dump(model, FILE) keeps a network that no config describes."


def skeleton_of(
    config: ResNetConfig, out_indices: tuple[int, ...] | None, **dtypes: Any
) -> ResNet | Backbone:
    """Builds a network or backbone without values."""
    network = skeleton(config, **dtypes)
    return network if out_indices is None else Backbone(network, out_indices=out_indices)


def mismatch_of(
    model: ResNet | Backbone, arrays: Mapping[str, np.ndarray | ArrayInFile]
) -> Mismatch:
    """Compares the names and shapes of a network's leaves with those of arrays."""
    shapes = {leaf.dotted: leaf.variable.shape for leaf in leaves_of(model)}
    return Mismatch(
        missing=[name for name in shapes if name not in arrays],
        unexpected=[name for name in arrays if name not in shapes],
        shapes=[
            f"{name} {shown(list(array.shape))} for {list(shapes[name])}"
            for name, array in arrays.items()
            if name in shapes and array.shape != shapes[name]
        ],
        not_floats=[name for name, array in arrays.items() if not is_floats(array)],
        beyond_remedy=True,
    )


def surgery_of(model: ResNet | Backbone, built: ResNet | Backbone) -> str | None:
    """Says which parts of a network are not those that its config builds; None if all are.

    Names and shapes of arrays do not tell how a convolution strides or which activation follows.

    Args:
        model: The network.
        built: What its config builds.
    """
    ours, theirs = (dict(nnx.iter_modules(network)) for network in (model, built))
    changes = []
    for path in dict.fromkeys((*ours, *theirs)):
        place = ".".join(map(str, path)) or "the network"
        if path not in ours or path not in theirs:
            changes.append(f"{place} is {'missing' if path in theirs else 'new'}")
        else:
            changes += [f"{place} {change}" for change in _differences(ours[path], theirs[path])]
    if not changes:
        return None
    return f"the model does not match its config and is not saved: {listed(changes)}. {_PICKLE}"


def _differences(module: nnx.Module, built: nnx.Module) -> Iterator[str]:
    if type(module) is not type(built):
        yield f"is a {type(module).__name__}, not a {type(built).__name__}"
        return
    ours, theirs = (_settings(one) for one in (module, built))
    for name, other in theirs.items():  # what a user has added is no part of the network
        one = ours.get(name)
        if one is not other and one != other:
            yield f"has {name}={shown(one, most=60)}, not {shown(other, most=60)}"


def _settings(module: nnx.Module) -> dict[str, Any]:
    """Returns the attributes of a module that are neither arrays nor modules."""
    return {
        name: value
        for name, value in vars(module).items()
        if name not in _FREE
        and not name.startswith("_pytree__")
        and not isinstance(value, nnx.Variable | nnx.Module | nnx.RngStream)
    }


def remedy_of(
    config: ResNetConfig,
    out_indices: tuple[int, ...] | None,
    arrays: Mapping[str, np.ndarray],
) -> str:
    """Says how a network that surgery has changed can be saved."""
    fitting = config
    kernel = arrays.get("head.kernel")
    if kernel is not None and kernel.ndim == 2:
        fitting = replace(fitting, num_classes=kernel.shape[1])
    for name in ("stem.conv.kernel", "stem.conv1.kernel"):
        if name in arrays and arrays[name].ndim == 4:
            fitting = replace(fitting, in_features=arrays[name].shape[2])
    if mismatch_of(skeleton_of(fitting, out_indices), arrays):
        return _PICKLE
    changed = {
        field: getattr(fitting, field)
        for field in ("num_classes", "in_features")
        if getattr(fitting, field) != getattr(config, field)
    }
    words = ", ".join(f"{field}={value}" for field, value in changed.items())
    if out_indices:
        words += f", features_only=True, out_indices={out_indices}"
    if "in_features" in changed:  # the shapes do not tell how a convolution pads and strides
        return (
            f"Build the network as new = create_model(model.config, {words}), take the arrays over "
            f"with nnx.update(new, nnx.state(model)), and save that."
        )
    return f"Tell the config first: model.config = dataclasses.replace(model.config, {words})."

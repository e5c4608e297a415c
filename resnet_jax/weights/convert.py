"""Loads PyTorch state dicts into modules of this library, strictly."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from resnet_jax.errors import shown
from resnet_jax.models import Backbone, ResNetConfig
from resnet_jax.weights import arrays, files, names
from resnet_jax.weights.entries import empty, find_weights
from resnet_jax.weights.errors import Mismatch, WeightsError, listed
from resnet_jax.weights.leaves import Leaf, marked_leaves, skeleton

_KEEP_HEAD = "new_head=True keeps the classifier as it was initialised."


def load_torch(
    module: nnx.Module,
    source: Mapping[str, Any] | files.FilePath,
    *,
    new_head: bool = False,
    adapt_input: bool = False,
) -> None:
    """Loads PyTorch weights into a network or block, in place.

    Loading is strict: it fills every parameter and statistic of the module and uses every entry of
    the source, or it leaves the module unchanged. It recognises the naming of timm, torchvision,
    transformers (`microsoft/resnet-50`) and akamaster, and for blocks that of PyTorch's blocks. It
    ignores counters (`num_batches_tracked`, `n_averaged`) and the prefixes of wrappers (`module.`,
    `model.`, `net.`, `backbone.`, `_orig_mod.`). Parameters keep the module's dtype and devices.

    Of a training checkpoint, it reads the entry that timm would: averages (`state_dict_ema`,
    `model_ema`) before live weights. The logger `resnet_jax.weights` says which, at level INFO. If
    other entries could be meant as well, none is read.

    Args:
        module: A network, backbone or block of this library; a skeleton from `nnx.eval_shape` is
            filled, and a backbone takes its part of the whole network's weights.
        source: A state dict of PyTorch tensors or of arrays, or a `.safetensors`, `.pth` or `.th`
            file of one; also a training checkpoint that holds one as an entry.
        new_head: Keep the module's classifier, if it has one, and ignore the source's.
        adapt_input: Adapt the first kernel to other image channels, as timm does: one channel gets
            the sum of the source's; more channels repeat them in turn, scaled.

    Raises:
        WeightsError: The file cannot be read, several of its entries could be meant, or keys are
            missing, unexpected or of another shape; one message lists them all.
    """
    origin, owned = "the state dict", not isinstance(source, Mapping)
    if not isinstance(source, Mapping):
        origin, source = str(source), files.read_state_dict(source)
    weights = find_weights(source, origin)
    if owned:
        empty(source)
    load_mapping(module, weights, origin=origin, new_head=new_head, adapt_input=adapt_input)


def load_mapping(
    module: nnx.Module,
    weights: dict[str, Any],
    *,
    origin: str,
    new_head: bool,
    adapt_input: bool,
) -> None:
    """Loads what `find_weights` found, as `load_torch` does; `origin` names it in messages.

    The dictionary is emptied, so that the memory of an array that has been loaded is free for the
    next ones.
    """
    leaves = marked_leaves(module)
    dialect = _recognise(leaves, weights, module, origin)
    if new_head:
        leaves = [leaf for leaf in leaves if not names.is_head(leaf.path)]
    expected = {names.torch_key(leaf.path, dialect): leaf for leaf in leaves}
    unwanted: set[str] = set()
    if new_head or isinstance(module, Backbone):
        unwanted |= set(filter(names.is_head_key, weights))
    if isinstance(module, Backbone):
        unwanted |= _keys_of_network(module.config, dialect) - expected.keys()
    for key in unwanted & weights.keys():
        del weights[key]
    problems = Mismatch(
        missing=[key for key in expected if key not in weights],
        unexpected=[key for key in weights if key not in expected],
    )
    _judge_keys(problems)
    fitting = [
        (key, leaf)
        for key, leaf in expected.items()
        if key in weights and _fits(key, leaf, weights[key], problems, adapt_input=adapt_input)
    ]
    if problems:
        raise WeightsError(
            f"{origin} does not fit {type(module).__name__} (read in the naming of "
            f"{dialect.name}): {problems}"
        )
    for key, leaf in fitting:  # one after the other, so that memory holds the weights once
        leaf.assign(_converted(leaf, weights.pop(key)))


def source_sizes(
    module: nnx.Module, weights: Mapping[str, Any], *, origin: str
) -> tuple[int, int | None]:
    """Returns a state dict's classes (0 without a classifier) and image channels (None if unknown).

    Args:
        module: The network of the state dict, with any number of classes and channels.
        weights: The state dict, as `find_weights` returns it.
        origin: Names the state dict in messages.

    Raises:
        WeightsError: The state dict belongs to another model.
    """
    leaves = marked_leaves(module)
    dialect = _recognise(leaves, weights, module, origin)
    classes, channels = 0, None
    for leaf in leaves:
        value = weights.get(names.torch_key(leaf.path, dialect))
        shape: tuple[int, ...] = tuple(getattr(value, "shape", ()))
        if names.is_head(leaf.path) and leaf.name == "kernel" and len(shape) > 1:
            classes = shape[0]
        if names.is_input_kernel(leaf.path) and len(shape) == 4:
            channels = shape[1]
    return classes, channels


def _keys_of_network(config: ResNetConfig, dialect: names.Dialect) -> set[str]:
    """Returns the keys of the whole network that a backbone belongs to."""
    return {names.torch_key(leaf.path, dialect) for leaf in marked_leaves(skeleton(config))}


def _recognise(
    leaves: list[Leaf], source: Mapping[str, Any], module: nnx.Module, origin: str
) -> names.Dialect:
    """Returns the naming that knows the most keys; of equals, the one that knows the classifier.

    Networks without projections have the same keys in two namings, up to the classifier.
    """

    def known(dialect: names.Dialect) -> tuple[int, bool]:
        layers = sum(names.torch_key(leaf.path, dialect) in source for leaf in leaves)
        return layers, any(key.startswith(dialect.head) for key in source)

    best = max(names.DIALECTS, key=known)
    if not known(best)[0]:
        raise WeightsError(
            f"{origin} belongs to another model: {type(module).__name__} knows none of its "
            f"{len(source)} keys ({listed(list(source))}); known are the namings of timm, "
            f"torchvision, transformers and akamaster."
        )
    return best


def _judge_keys(problems: Mismatch) -> None:
    """Notes the remedy for keys of the classifier, which is the module's or the source's alone."""
    if problems.missing:
        problems.remedies.append(_KEEP_HEAD)
    elif problems.unexpected:
        problems.remedies.append("new_head=True ignores the classifier of the source.")
    if not all(map(names.is_head_key, (*problems.missing, *problems.unexpected))):
        problems.beyond_remedy = True


def _fits(key: str, leaf: Leaf, value: Any, problems: Mismatch, *, adapt_input: bool) -> bool:
    """Whether a value can become that of a leaf; notes the problem otherwise. Reads no array."""
    if not arrays.is_floats(value):
        problems.not_floats.append(key)
        return False
    shape, wanted = tuple(value.shape), leaf.torch_shape
    first = names.is_input_kernel(leaf.path) and len(shape) == len(wanted) == 4
    if first and adapt_input:
        shape = (shape[0], wanted[1], *shape[2:])
    if arrays.same_matrix(shape, wanted):
        return True
    problems.shapes.append(f"{key} {shown(list(shape))} for {list(wanted)}")
    if names.is_head(leaf.path):
        problems.remedies.append(_KEEP_HEAD)
    elif first and shape[1] != wanted[1]:
        problems.remedies.append("adapt_input=True adapts the first kernel to other channels.")
    else:
        problems.beyond_remedy = True
    return False


def _converted(leaf: Leaf, value: Any) -> np.ndarray:
    """Returns the array of a value that fits, in our layout."""
    array = arrays.as_numpy(value)
    assert array is not None
    shape = leaf.torch_shape
    if array.ndim == len(shape) == 4 and names.is_input_kernel(leaf.path):
        array = arrays.adapt_input(array, shape[1]) if array.shape[1] != shape[1] else array
    return arrays.from_torch_layout(leaf.name, array.reshape(shape))

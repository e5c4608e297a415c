"""Networks with trained weights."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Unpack, overload

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax import zoo
from resnet_jax.errors import ConfigError
from resnet_jax.models import Backbone, ResNet, ResNetConfig
from resnet_jax.models.initialize import initialize, params_key
from resnet_jax.network_inputs import check_channels
from resnet_jax.weights.convert import load_mapping, source_sizes
from resnet_jax.weights.entries import empty, find_weights
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.files import FilePath, is_own_file, read_state_dict
from resnet_jax.weights.leaves import skeleton
from resnet_jax.weights.names import is_head
from resnet_jax.weights.own_files import open_model, read_record, recorded_inputs
from resnet_jax.weights.selection import selected_weights
from resnet_jax.weights.torch_dicts import torch_arrays

# The fields that may differ between the network in a file and the one to build.
_FREE = {*zoo.Changes.__annotations__, "batch_norm"}

# What `create_model` takes besides these.
_ARGUMENTS = ("pretrained", "features_only", "out_indices", "dtype", "param_dtype", "rngs")


@overload
def create_model(
    name: str | ResNetConfig,
    *,
    pretrained: bool | FilePath | None = False,
    features_only: Literal[False] = False,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[zoo.Changes],
) -> ResNet: ...


@overload
def create_model(
    name: str | ResNetConfig,
    *,
    pretrained: bool | FilePath | None = False,
    features_only: Literal[True],
    out_indices: Iterable[int] | None = None,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[zoo.Changes],
) -> Backbone: ...


@overload
def create_model(
    name: str | ResNetConfig,
    *,
    pretrained: bool | FilePath | None = False,
    features_only: bool,
    out_indices: Iterable[int] | None = None,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[zoo.Changes],
) -> ResNet | Backbone: ...


def create_model(
    name: str | ResNetConfig,
    *,
    pretrained: bool | FilePath | None = False,
    features_only: bool = False,
    out_indices: Iterable[int] | None = None,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[zoo.Changes],
) -> ResNet | Backbone:
    """Builds a network, with random or with trained weights, in training mode.

    Args:
        name: One of `list_models()`, or a config; `resnet50.a1_in1k` also names the weights, as
            does `hf_hub:timm/resnet50.a1_in1k`.
        pretrained: False or None for random weights; True for the default published ones, from the
            cache or the Hugging Face hub; a tag such as `a1_in1k` for specific ones; or a file, of
            any name.
        features_only: Build only the stem and the stages: a `Backbone`, which returns feature
            maps.
        out_indices: Which maps a backbone returns: 0 after the stem, 1 after the first stage, -1
            after the last; None returns all.
        dtype: Dtype of the computation; statistics, pooling and classifier stay in float32.
        param_dtype: Dtype of the stored parameters.
        rngs: The key `params` initialises layers without trained weights; None takes `nnx.Rngs(0)`.
        **changes: Settings that differ from those of the published network; see `zoo.Changes`.
            If `num_classes` differs from the weights, the classifier is new; if `in_features`
            differs, the first kernel is adapted, as by `load_torch` with `adapt_input`.

    Raises:
        ConfigError: The network is unknown (the message names the nearest ones), cannot be changed
            like this, or does not have these weights.
        WeightsError: The weights cannot be downloaded or read, or do not fit.
    """
    zoo.check_settings(changes, arguments=_ARGUMENTS)
    if out_indices is not None and not features_only:
        raise ConfigError(f"out_indices={out_indices!r} needs features_only=True.")
    source = selected_weights(name, pretrained)
    build: Callable[..., ResNet] = zoo.create_untrained
    if source is not None:
        build = functools.partial(load_pretrained, source=source)
    network = zoo.split_name(name)[0] if isinstance(name, str) else name
    model = build(network, dtype=dtype, param_dtype=param_dtype, rngs=rngs, **changes)
    built = Backbone(model, out_indices=out_indices) if features_only else model
    with contextlib.suppress(ConfigError):  # what no image has: four channels, a damaged record
        inputs, origin = _known(name, pretrained, source, model.config)
        zoo.remember_inputs(built, inputs, origin=origin)
    return built


def _known(
    name: str | ResNetConfig,
    pretrained: bool | FilePath | None,
    source: FilePath | None,
    config: ResNetConfig,
) -> tuple[zoo.NetworkInputs, str]:
    """Returns what a network's weights expect of images, and where that is known from."""
    if source is None:
        return zoo.usual_inputs(config), "usual for such a network; its weights are random"
    recorded = recorded_inputs(source)
    if recorded is not None:
        return recorded, f"recorded in {source}"
    network, tag = zoo.split_name(name) if isinstance(name, str) else ("", "")
    if source is pretrained and not tag:
        return zoo.usual_inputs(config), f"usual for such a network; {source} has no record"
    tag = tag or (pretrained if isinstance(pretrained, str) else "")
    info = zoo.pretrained_info(f"{network}.{tag}" if tag else network)
    channels = check_channels(config.in_features)
    inputs = dataclasses.replace(info.preprocessing, channels=channels)
    return inputs, f"published with {network}.{info.tag}"


def load_pretrained(
    name: str | ResNetConfig,
    source: FilePath | Mapping[str, Any],
    *,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
    rngs: nnx.Rngs | None = None,
    **changes: Unpack[zoo.Changes],
) -> ResNet:
    """Builds a network with given weights, in training mode.

    The weights decide the number of classes and of image channels, unless `changes` sets them.
    Weights without a classifier give a network without one.

    Args:
        name: One of `list_models()`, or a config.
        source: A file of `save`, or a source that `load_torch` takes.
        dtype: As for `create_model`.
        param_dtype: As for `create_model`.
        rngs: As for `create_model`.
        **changes: As for `create_model`.

    Raises:
        ConfigError: The network is unknown, or cannot be changed like this.
        WeightsError: The weights cannot be read or do not fit.
    """
    config = zoo.model_config(name, **changes)
    origin, owned = "the state dict", not isinstance(source, Mapping)
    if not isinstance(source, Mapping):
        origin = str(source)
        source = _state_dict(source, config)
    weights = find_weights(source, origin)
    if owned:
        empty(source)
    any_head = skeleton(dataclasses.replace(config, num_classes=1, global_pool="avg"))
    classes, channels = source_sizes(any_head, weights, origin=origin)
    if changes.get("num_classes") is None:
        config = dataclasses.replace(config, num_classes=classes)
    if changes.get("in_features") is None and channels is not None:
        config = dataclasses.replace(config, in_features=channels)
    new_head = config.num_classes != classes
    if new_head:
        key = params_key(rngs)
        build = functools.partial(ResNet, config, dtype=dtype, param_dtype=param_dtype)
        model = initialize(build, key, only=is_head)
    else:
        model = skeleton(config, dtype=dtype, param_dtype=param_dtype)
    adapt_input = config.in_features != channels
    load_mapping(model, weights, origin=origin, new_head=new_head, adapt_input=adapt_input)
    return model


def _state_dict(path: FilePath, config: ResNetConfig) -> Mapping[str, Any]:
    """Reads a file; if it describes its network, that must be the network to build."""
    if not is_own_file(path):
        return read_state_dict(path)
    record = read_record(path)
    if record.out_indices is not None:
        raise WeightsError(
            f"{path} holds a backbone, and create_model fills whole networks: "
            f"resnet_jax.load(FILE, features_only=True) returns the backbone."
        )
    held, wanted = (dataclasses.asdict(one) for one in (record.config, config))
    for field in held.keys() - _FREE:
        if held[field] != wanted[field]:
            raise WeightsError(
                f"{path} holds another network: its {field} is {held[field]!r}, not "
                f"{wanted[field]!r}; resnet_jax.load builds the network in the file."
            )
    return torch_arrays(*open_model(path))

"""What may be changed about any network, and what else these settings are called."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import TypedDict

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.models import ResNetConfig


class Changes(TypedDict, total=False):
    """What a caller may change about any network: fields of `ResNetConfig`, which explains them.

    None, or leaving a field out, changes nothing.
    """

    num_classes: int | None
    in_features: int | None
    output_stride: int | None
    drop_path_rate: float | None
    dropout_rate: float | None
    zero_init_last: bool | None
    remat: bool | None
    global_pool: str | None


# Names in timm, torchvision and elsewhere of what can be given to `create_model`.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "num_classes": ("classes", "n_classes", "nb_classes", "num_labels", "num_outputs"),
    "in_features": ("in_chans", "in_channels", "channels", "input_channels", "num_channels"),
    "output_stride": ("replace_stride_with_dilation",),
    "drop_path_rate": ("drop_path", "stochastic_depth", "stochastic_depth_prob"),
    "dropout_rate": ("drop", "drop_rate", "dropout"),
    "global_pool": ("pool", "pool_type", "pooling"),
    "zero_init_last": ("zero_init_residual",),
    "remat": ("checkpoint", "grad_checkpointing", "gradient_checkpointing"),
    "pretrained": ("checkpoint_path", "pretrained_cfg", "pretrained_tag", "weights"),
    "features_only": ("backbone", "features"),
    "rngs": ("key", "rng", "seed"),
}
# Names in timm of the fields of a config.
_FIELDS: Mapping[str, tuple[str, ...]] = {
    "depths": ("layers",),
    "widths": (),
    "stem": ("stem_type",),
    "stem_features": ("stem_width",),
    "stem_pool": ("replace_stem_pool",),
    "shortcut": ("avg_down", "down_kernel_size"),
    "norm": ("norm_layer",),
    "activation": ("act", "act_layer"),
    "attention": ("attn_layer", "block_args"),
    "antialiasing": ("aa_layer",),
    "groups": ("cardinality",),
    "mid_ratio": ("base_width",),
    "first_ratio": ("block_reduce_first",),
}


def check_settings(names: Iterable[str], *, arguments: Iterable[str] = ()) -> None:
    """Checks that keyword arguments are fields of `Changes`.

    Args:
        names: The keyword arguments.
        arguments: What else the caller's function takes.

    Raises:
        ConfigError: One is not; the message says what it is called here.
    """
    for name in names:
        if name not in Changes.__annotations__:
            known = (*Changes.__annotations__, *arguments)
            hint = _hint(name, known)
            raise ConfigError(
                f"a model has no setting {name!r}.{hint} There are {', '.join(known)}."
            )


def _hint(name: str, known: tuple[str, ...]) -> str:
    """Says what is probably meant by a name that is not known."""
    for ours, others in _ARGUMENTS.items():
        if name in others and ours in known:
            return f" Did you mean {ours!r}?"
    fields = {field.name for field in dataclasses.fields(ResNetConfig)} - {*known}
    meant = [ours for ours, others in _FIELDS.items() if name in others]
    meant += difflib.get_close_matches(name, fields, n=1, cutoff=0.8)
    if meant:
        return (
            f" To change the config's {meant[0]}, pass dataclasses.replace(model_config(NAME), "
            f"{meant[0]}=...) as the name."
        )
    return nearest(name, known)

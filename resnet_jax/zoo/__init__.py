"""The zoo: networks by name, each a row of data.

Names, weights and costs are read without importing jax or flax.
"""

from typing import TYPE_CHECKING

from resnet_jax.lazy import lazy_names
from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.zoo.catalogue import Description, describe, list_models, list_pretrained
from resnet_jax.zoo.preprocessing import Preprocessing
from resnet_jax.zoo.published import (
    Pretrained,
    pretrained_info,
    pretrained_tags,
    split_name,
)

if TYPE_CHECKING:
    from resnet_jax.zoo.create import create_untrained, model_config
    from resnet_jax.zoo.origins import known_inputs, remember_inputs, usual_inputs
    from resnet_jax.zoo.settings import Changes, check_settings

__all__ = [
    "Changes",
    "Description",
    "NetworkInputs",
    "Preprocessing",
    "Pretrained",
    "check_settings",
    "create_untrained",
    "describe",
    "known_inputs",
    "list_models",
    "list_pretrained",
    "model_config",
    "pretrained_info",
    "pretrained_tags",
    "remember_inputs",
    "split_name",
    "usual_inputs",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "resnet_jax.zoo.create": ("create_untrained", "model_config"),
            "resnet_jax.zoo.origins": ("known_inputs", "remember_inputs", "usual_inputs"),
            "resnet_jax.zoo.settings": ("Changes", "check_settings"),
        },
    )

"""The zoo: networks by name, each a row of data."""

from resnet_jax.network_inputs import NetworkInputs
from resnet_jax.zoo.create import create_untrained, list_models, model_config
from resnet_jax.zoo.describe import Description, describe
from resnet_jax.zoo.preprocessing import Preprocessing
from resnet_jax.zoo.published import (
    Pretrained,
    pretrained_info,
    pretrained_tags,
    split_name,
)
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
    "list_models",
    "model_config",
    "pretrained_info",
    "pretrained_tags",
    "split_name",
]

"""The zoo: networks by name, each a row of data."""

from resnet_jax.zoo.create import Changes, create_model, list_models, model_config
from resnet_jax.zoo.describe import Description, describe
from resnet_jax.zoo.published import Preprocessing, Pretrained, pretrained_info, pretrained_tags

__all__ = [
    "Changes",
    "Description",
    "Preprocessing",
    "Pretrained",
    "create_model",
    "describe",
    "list_models",
    "model_config",
    "pretrained_info",
    "pretrained_tags",
]

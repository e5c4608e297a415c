"""What is known about published weights: preprocessing, classes, licence and where they are."""

import dataclasses
import re

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.zoo.preprocessing import Preprocessing
from resnet_jax.zoo.tags import TAGS

# The classes of weights that were not trained on, or for, ImageNet-1k, by the end of the tag.
_CLASSES = {"in12k": 11821, "in21k": 21843, "bamboo": 0}
# By the beginning of the tag.
_LICENSES = {"tv": "bsd-3-clause", "fb_": "cc-by-nc-4.0", "bamboo": None}
_UNTRAINED = "untrained"
# As timm writes it, and the bare name of a repository.
_HUB = re.compile(r"hf[_-]hub:|(?=timm/)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A set of published weights.

    Attributes:
        name: The network.
        tag: The training, such as `a1_in1k`.
        preprocessing: What the weights expect of their images.
        num_classes: Outputs of the classifier; 0 where the weights have none.
        license: Licence of the weights, or None where it is not known.
    """

    name: str
    tag: str
    preprocessing: Preprocessing
    num_classes: int
    license: str | None

    @property
    def hub_id(self) -> str | None:
        """The repository on the Hugging Face hub, or None where nothing was published."""
        return None if self.tag == _UNTRAINED else f"timm/{self.name}.{self.tag}"


def split_name(name: str) -> tuple[str, str]:
    """Splits a name into a network and the tag of its weights, which is empty if there is none.

    Args:
        name: Such as `resnet50`, `resnet50.a1_in1k` or, with the hub's repository,
            `hf_hub:timm/resnet50.a1_in1k`.

    Raises:
        ConfigError: The repository is not timm's, and does not say which network it holds.
    """
    place = _HUB.match(name)
    if place is None:
        network, _, tag = name.partition(".")
        return network, tag
    owner, slash, rest = name[place.end() :].rpartition("/")
    if not slash or owner != "timm":
        raise ConfigError(
            f"{name!r} is not one of timm's repositories; download its weights, and pass the "
            f"network's name with pretrained=PATH."
        )
    return split_name(rest)


def pretrained_tags(name: str) -> list[str]:
    """Lists the tags of a network's published weights, the usual one first.

    Args:
        name: A network; those that timm does not know have no tags.
    """
    return list(TAGS.get(name, ()))


def pretrained_info(name: str) -> Pretrained:
    """Returns the record of published weights.

    Args:
        name: A network, such as `resnet50`, for its usual weights, or with a tag, such as
            `resnet50.a2_in1k`; see `split_name`.

    Raises:
        ConfigError: There is no such network, or it has no weights of that tag.
    """
    network, tag = split_name(name)
    if network not in TAGS:
        raise ConfigError(f"no weights are known for {network!r}.{nearest(network, TAGS)}")
    tags = TAGS[network]
    tag = tag or next(iter(tags))
    if tag not in tags:
        raise ConfigError(
            f"{network!r} has no weights {tag!r}; there are {', '.join(tags)}.{nearest(tag, tags)}"
        )
    classes = [count for end, count in _CLASSES.items() if tag.endswith(end)]
    licenses = [terms for start, terms in _LICENSES.items() if tag.startswith(start)]
    return Pretrained(
        network,
        tag,
        preprocessing=tags[tag],
        num_classes=classes[0] if classes else 1000,
        license=licenses[0] if licenses else "apache-2.0",
    )

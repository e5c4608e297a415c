"""Which networks and published weights there are, and what a network costs.

The table is stored, next to this file, so that reading it builds and imports no network:
`python -m benchmarks.catalogue` writes it, and tests compare it with the networks.
"""

import csv
import dataclasses
import fnmatch
import functools
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from resnet_jax.errors import ConfigError, nearest, shown
from resnet_jax.zoo.published import pretrained_info, pretrained_tags

PATH = pathlib.Path(__file__).with_name("catalogue.csv")

# The first pattern that a name matches tells where the network comes from.
_PAPERS = {
    "preact_resnet*": "He et al. 2016, arXiv:1603.05027",
    "wide_resnet*": "Zagoruyko and Komodakis 2016, arXiv:1605.07146",
    "resnetv2_*_bit": "Kolesnikov et al. 2019, arXiv:1912.11370",
    "resnetv2_*_evos": "Liu et al. 2020, arXiv:2004.02967",
    "resnetv2_*_frn": "Singh and Krishnan 2019, arXiv:1911.09737",
    "*_gn": "Wu and He 2018, arXiv:1803.08494",
    "resnetv2_*": "He et al. 2016, arXiv:1603.05027",
    "resnetrs*": "Bello et al. 2021, arXiv:2103.07579",
    "resnetblur*": "Zhang 2019, arXiv:1904.11486",
    "eca*": "Wang et al. 2019, arXiv:1910.03151",
    "se*": "Hu et al. 2017, arXiv:1709.01507",
    "resnext*": "Xie et al. 2016, arXiv:1611.05431",
    "resnet*[cdst]": "He et al. 2018, arXiv:1812.01187",
    "*": "He et al. 2015, arXiv:1512.03385",
}


class StoredCost(NamedTuple):
    """A row of the stored table: parameters, and multiply-adds for an image of `size` pixels."""

    parameters: int
    multiply_adds: int
    size: int


@dataclasses.dataclass(frozen=True)
class Description:
    """A line of the table of networks.

    Attributes:
        name: The network.
        parameters: Numbers that training adapts; running statistics are not among them.
        gflops: Thousand millions of multiplications with their additions for one image, in
            convolutions and matrix products: what papers on these networks call FLOPs.
        size: Rows and columns of the input that the network is used with.
        paper: Where it was described.
    """

    name: str
    parameters: int
    gflops: float
    size: int
    paper: str


@functools.cache
def stored_costs() -> Mapping[str, StoredCost]:
    """Reads the stored table: a row for each network, in the order of the zoo's."""
    with PATH.open(newline="") as file:
        rows = csv.DictReader(file)
        return {row.pop("name"): StoredCost(**{k: int(v) for k, v in row.items()}) for row in rows}


def describe(name: str) -> Description:
    """Returns the parameters, the work, the input size and the paper of a network.

    Args:
        name: One of `list_models()`.

    Raises:
        ConfigError: There is no network of that name.
    """
    check_model_name(name, stored_costs())
    stored = stored_costs()[name]
    paper = next(paper for pattern, paper in _PAPERS.items() if fnmatch.fnmatchcase(name, pattern))
    return Description(name, stored.parameters, stored.multiply_adds / 1e9, stored.size, paper)


def check_model_name(name: str, names: Collection[str]) -> None:
    """Checks that a name is one of those of the networks.

    Raises:
        ConfigError: It is not; the message has the nearest ones.
    """
    if name in names:
        return
    network, _, tag = name.partition(".")
    if tag and network in names:
        raise ConfigError(f"{name!r} names weights; the model is {network!r}.")
    raise ConfigError(
        f"there is no model {name!r}.{nearest(name, names)} "
        f"resnet_jax.list_models() lists them all."
    )


def list_models(
    filter: str | Iterable[str] = "",  # noqa: A002  # timm's name for it
    *,
    pretrained: bool = False,
    exclude_filters: str | Iterable[str] = (),
    include_tags: bool = False,
) -> list[str]:
    """Lists networks, in the order of the zoo's table. `create_model` takes each of the names.

    Args:
        filter: One or several shell patterns, such as `resnet*d` or `["resnet*", "seresnet*"]`; a
            name is listed if it matches any of them. A pattern with a dot, such as `*.a1_in1k`, is
            matched against the names of weights. The empty string matches everything.
        pretrained: List only networks with published weights.
        exclude_filters: Patterns of names that are left out.
        include_tags: List `name.tag` for each of the published weights of a network. timm does so
            where `pretrained` is given; here `list_pretrained` does.

    Raises:
        ConfigError: A pattern is not a string.

    Example:
        >>> list_models(["resnet1??d", "resnet2*d"], pretrained=True, exclude_filters="*200d")
        ['resnet101d', 'resnet152d', 'resnet26d']
    """
    wanted, unwanted = _patterns(filter) or ["*"], _patterns(exclude_filters)
    found: dict[str, None] = {}
    for network, tag in _weights():
        full = f"{network}.{tag}"
        chosen = _matches(full, wanted) and not _matches(full, unwanted)
        if chosen and (tag or not pretrained):
            found[full if include_tags and tag else network] = None
    return list(found)


def list_pretrained(
    filter: str | Iterable[str] = "",  # noqa: A002  # timm's name for it
    *,
    exclude_filters: str | Iterable[str] = (),
) -> list[str]:
    """Lists published weights as `name.tag`; the usual ones of a network come first.

    `create_model(name, pretrained=True)` loads weights of such a name.

    Args:
        filter: Patterns, as for `list_models`.
        exclude_filters: Patterns of what is left out.

    Example:
        >>> list_pretrained("resnet50", exclude_filters=["*_in1k", "*_in12k"])
        ['resnet50.b1k_in1k']
    """
    return list_models(filter, pretrained=True, exclude_filters=exclude_filters, include_tags=True)


def _weights() -> Iterator[tuple[str, str]]:
    """Yields each network with each of the tags of its weights; one without weights has ""."""
    for network in stored_costs():
        tags = [f"{network}.{tag}" for tag in pretrained_tags(network)]
        published = [info.tag for info in map(pretrained_info, tags) if info.hub_id]
        yield from ((network, tag) for tag in published or [""])


def _patterns(given: str | Iterable[str]) -> list[str]:
    """Returns patterns of `name.tag`; one without a dot is of the name."""
    several = [given] if isinstance(given, str) or not isinstance(given, Iterable) else [*given]
    for pattern in several:
        if not isinstance(pattern, str):
            raise ConfigError(
                f"{shown(repr(pattern))} is not a pattern; 'resnet*d', for instance, is one."
            )
    return [pattern if "." in pattern else f"{pattern}.*" for pattern in several if pattern]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

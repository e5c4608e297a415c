"""What a network costs, found out without building or running it."""

import dataclasses
import fnmatch
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers import GLOBAL_POOLS
from resnet_jax.layers.ops import default_jaxpr
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.models.stem import STEMS
from resnet_jax.zoo.create import model_config
from resnet_jax.zoo.published import pretrained_info, pretrained_tags

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


class Cost(NamedTuple):
    """What some layers of a network cost: parameters, and multiply-adds for one image."""

    parameters: int
    multiply_adds: int

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]  # not a concatenation
        """Adds up two costs."""
        return Cost(self.parameters + other.parameters, self.multiply_adds + other.multiply_adds)

    def times(self, count: int) -> "Cost":
        """Returns the cost of so many like it."""
        return Cost(count * self.parameters, count * self.multiply_adds)


def describe(name: str) -> Description:
    """Counts the parameters and the work of a network.

    Args:
        name: One of `list_models()`.

    Raises:
        ConfigError: There is no network of that name.
    """
    config = model_config(name)
    size = native_size(name, config)
    total = cost(config, size)
    paper = next(paper for pattern, paper in _PAPERS.items() if fnmatch.fnmatchcase(name, pattern))
    return Description(name, total.parameters, total.multiply_adds / 1e9, size, paper)


def native_size(name: str, config: ResNetConfig) -> int:
    """Returns the rows and columns of the input that a network is used with."""
    if pretrained_tags(name):
        return pretrained_info(name).preprocessing.size
    return STEMS[config.stem].image_size


def cost(config: ResNetConfig, size: int) -> Cost:
    """Counts a network's parameters and its multiply-adds for one image of `size` x `size`."""
    # After a stage's first block all are alike, so that two blocks per stage are enough.
    short = dataclasses.replace(config, depths=(2,) * len(config.depths), drop_path_rate=0.0)
    ends, stages = _costs(short, size)
    total = ends
    for depth, (first, other) in zip(config.depths, stages, strict=True):
        total = total + first + other.times(depth - 1)
    return total


@functools.cache
def _costs(config: ResNetConfig, size: int) -> tuple[Cost, Sequence[Sequence[Cost]]]:
    """Costs of stem and head together, and of each block."""
    model = nnx.eval_shape(lambda: ResNet(config, rngs=nnx.Rngs(0)))
    model.eval()
    image = jax.ShapeDtypeStruct((1, size, size, config.in_features), jnp.float32)
    # The stem holds its pool, which its call leaves out: only the work is missing.
    stem, x = _trace(model.stem, image)
    pool, x = _trace(model.stem.pool, x)
    stages = []
    for blocks in model.stages:
        costs = []
        for block in blocks:
            block_cost, x = _trace(block, x)
            costs.append(block_cost)
        stages.append(costs)
    norm, x = _trace(model.norm, x)
    head, _ = _trace(model.head, jax.eval_shape(GLOBAL_POOLS[config.global_pool].apply, x))
    return stem + Cost(0, pool.multiply_adds) + norm + head, stages


def _trace(layer: Callable[..., Any], x: jax.ShapeDtypeStruct) -> tuple[Cost, jax.ShapeDtypeStruct]:
    """Returns the cost of a layer, a module or a function, and the shape of its output."""
    if not isinstance(layer, nnx.Module):
        y = jax.eval_shape(layer, x)
        return Cost(0, 0), jax.ShapeDtypeStruct(y.shape, y.dtype)
    graphdef, state = nnx.split(layer)
    jaxpr = jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(state, x)
    parameters = jax.tree.leaves(nnx.state(layer, nnx.Param))
    output = jaxpr.out_avals[0]
    return (
        Cost(sum(math.prod(leaf.shape) for leaf in parameters), _multiply_adds(jaxpr.jaxpr)),
        jax.ShapeDtypeStruct(output.shape, output.dtype),
    )


def _multiply_adds(jaxpr: Any) -> int:
    """Counts those of the convolutions and matrix products of a jaxpr and of what it calls."""
    total = 0
    for equation in jaxpr.eqns:
        output = equation.outvars[0].aval
        if equation.primitive.name == "conv_general_dilated":
            kernel = equation.invars[1].aval.shape
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += math.prod(output.shape) * math.prod(kernel) // kernel[features]
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += math.prod(output.shape) * math.prod(shape[axis] for axis in contracted)
        # What an equation calls is a jaxpr, bare or closed.
        called = [default_jaxpr(equation)] if equation.primitive.name == "per_platform" else []
        called += equation.params.values()
        inner = [getattr(value, "jaxpr", value) for value in called]
        total += sum(_multiply_adds(value) for value in inner if hasattr(value, "eqns"))
    return total

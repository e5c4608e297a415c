"""What a network costs, counted without building or running it."""

import dataclasses
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
from resnet_jax.zoo.published import pretrained_info, pretrained_tags


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

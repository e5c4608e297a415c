"""The least memory traffic of a training step of a network whose layers run one after another.

Each convolution, each of its two gradients and each sum of a block is one pass over its maps. Norms
and activations are part of these passes, so a gradient reads the map before the norm as well. No
pass keeps a map on the chip for the next one. A norm that is folded into a convolution in training
(`BatchNorm.fold`) takes no part in the gradients' passes, so a step with such norms moves less.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from resnet_jax.layers.ops import default_jaxpr
from resnet_jax.models.resnet import ResNet


class Floor(NamedTuple):
    """Elements of maps for one image; weights are not counted.

    Attributes:
        convolutions: The number of convolutions.
        inputs: Elements of their inputs.
        outputs: Elements of their outputs.
        sums: Elements of the sums of the blocks.
    """

    convolutions: int
    inputs: int
    outputs: int
    sums: int

    @property
    def forward(self) -> int:
        """What the forward pass moves: each convolution reads its input, writes its output."""
        return self.inputs + self.outputs

    @property
    def backward(self) -> int:
        """What both gradients of each convolution move.

        Both read the output and its gradient. The input's reads the input, for the activation and
        the sums of the norm before, and writes its gradient. The kernel's reads the input.
        """
        return 3 * self.inputs + 4 * self.outputs

    @property
    def block_sums(self) -> int:
        """What the sums move: two maps in, one out."""
        return 3 * self.sums

    @property
    def training(self) -> int:
        """What a training step moves."""
        return self.forward + self.backward + self.block_sums

    @property
    def training_in_one_pass(self) -> int:
        """The same if one kernel computes both gradients of a convolution."""
        return self.training - 2 * self.outputs


def floor_of(model: ResNet, *, size: int) -> Floor:
    """Counts the maps of a network.

    Args:
        model: The network, or its structure from `nnx.eval_shape`.
        size: Height and width of the images.
    """
    model.eval()
    x = jax.ShapeDtypeStruct((1, size, size, model.config.in_features), jnp.float32)
    found, x = _convolutions(model.stem, x)
    _, x = _convolutions(model.stem.pool, x)
    sums = 0
    for block in (block for blocks in model.stages for block in blocks):
        inner, x = _convolutions(block, x)
        found += inner
        sums += math.prod(x.shape)
    return Floor(
        convolutions=len(found),
        inputs=sum(first for first, _ in found),
        outputs=sum(last for _, last in found),
        sums=sums,
    )


def _convolutions(
    layer: Any, x: jax.ShapeDtypeStruct
) -> tuple[list[tuple[int, int]], jax.ShapeDtypeStruct]:
    """Lists the elements in and out of each convolution of a layer, with its output's shape."""
    if isinstance(layer, nnx.Module):
        graphdef, state = nnx.split(layer)
        jaxpr = jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(state, x)
    else:
        jaxpr = jax.make_jaxpr(layer)(x)
    output = jaxpr.out_avals[0]
    return list(_found(jaxpr.jaxpr)), jax.ShapeDtypeStruct(output.shape, output.dtype)


def _found(jaxpr: Any) -> list[tuple[int, int]]:
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            ends = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
            found.append((math.prod(ends[0]), math.prod(ends[1])))
            continue
        called = [default_jaxpr(equation)] if equation.primitive.name == "per_platform" else []
        called += equation.params.values()
        inner = [getattr(value, "jaxpr", value) for value in called]
        for value in inner:
            if hasattr(value, "eqns"):
                found += _found(value)
    return found

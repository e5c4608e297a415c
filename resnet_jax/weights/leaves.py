"""The parameters and statistics of a module, one by one."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.blocks import PooledProjection
from resnet_jax.errors import shown
from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.weights import arrays, names
from resnet_jax.weights.errors import WeightsError
from resnet_jax.weights.names import Path


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter or statistic.

    Attributes:
        path: Its place in the module.
        variable: The variable of the module that holds its value.
    """

    path: Path
    variable: nnx.Variable[Any]

    @property
    def name(self) -> str:
        """Its name, the end of the path."""
        return str(self.path[-1])

    @property
    def dotted(self) -> str:
        """Its path, such as `stages.0.1.conv1.kernel`."""
        return ".".join(map(str, self.path))

    @property
    def torch_shape(self) -> arrays.Shape:
        """Its shape in PyTorch."""
        return arrays.torch_shape(self.name, self.variable.shape)

    @property
    def value(self) -> np.ndarray:
        """Its value."""
        return np.asarray(self.variable.get_value())

    def assign(self, array: np.ndarray) -> None:
        """Replaces the value by an array, in the same dtype and on the same devices."""
        old = self.variable.get_value()
        concrete = isinstance(old, jax.Array) and not isinstance(old, jax.core.Tracer)
        sharding = old.sharding if concrete else None
        # Copy now, with NumPy. A device copies later, and on a CPU the array may share memory with
        # a tensor that PyTorch still writes to.
        own = np.array(array, dtype=old.dtype, order="C")
        # Inside of a trace too the value is an array and not traced: a constant of the program.
        with jax.ensure_compile_time_eval():
            self.variable.set_value(jax.device_put(own, sharding))


def leaves_of(module: nnx.Module) -> list[Leaf]:
    """Lists parameters and statistics in the order of their paths.

    Raises:
        WeightsError: `module` is not a module.
    """
    if not isinstance(module, nnx.Module):
        given = shown(repr(module))
        raise WeightsError(f"{given} is not a network or a block; create_model builds by name.")
    state = nnx.state(module, (nnx.Param, nnx.BatchStat))
    return [Leaf(cast(Path, path), variable) for path, variable in nnx.to_flat_state(state)]


def marked_leaves(module: nnx.Module) -> list[Leaf]:
    """Lists the leaves; their paths mark the projections after a pool."""
    pooled = {path for path, part in nnx.iter_modules(module) if isinstance(part, PooledProjection)}
    return [
        Leaf((*leaf.path[:-3], names.POOLED, *leaf.path[-2:]), leaf.variable)
        if leaf.path[:-2] in pooled
        else leaf
        for leaf in leaves_of(module)
    ]


def skeleton(
    config: ResNetConfig,
    *,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
) -> ResNet:
    """Builds a network whose leaves have shapes and dtypes, but no values yet."""

    def build() -> ResNet:
        return ResNet(config, dtype=dtype, param_dtype=param_dtype, rngs=cast(nnx.Rngs, _OneKey()))

    return nnx.eval_shape(build)


class _OneKey:
    """Returns the same key each time, for networks whose numbers are never drawn.

    `nnx.Rngs` counts its keys, and inside a trace each count takes time in proportion to what was
    traced before: minutes for a thousand layers.
    """

    def params(self) -> jax.Array:
        return jax.random.key(0)

"""The parameters and statistics of a module, one by one."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.models import ResNet, ResNetConfig
from resnet_jax.weights import arrays
from resnet_jax.weights.names import Path


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter or statistic.

    Attributes:
        path: Where it lies in the module.
        variable: What holds its value, in the module itself.
    """

    path: Path
    variable: nnx.Variable[Any]

    @property
    def name(self) -> str:
        """Its own name, the end of the path."""
        return str(self.path[-1])

    @property
    def dotted(self) -> str:
        """Its path, such as `stages.0.1.conv1.kernel`."""
        return ".".join(map(str, self.path))

    @property
    def torch_shape(self) -> arrays.Shape:
        """The shape that PyTorch gives it."""
        return arrays.torch_shape(self.name, self.variable.shape)

    @property
    def value(self) -> np.ndarray:
        """Its value."""
        return np.asarray(self.variable.get_value())

    def assign(self, array: np.ndarray) -> None:
        """Puts an array in the place of the value, in its dtype and on its devices."""
        old = self.variable.get_value()
        sharding = old.sharding if isinstance(old, jax.Array) else None
        # NumPy copies at once. A device copies when it is free, and on CPU an array can share the
        # memory of a tensor that PyTorch goes on writing to.
        own = np.array(array, dtype=old.dtype)
        self.variable.set_value(jax.device_put(own, sharding))


def leaves_of(module: nnx.Module) -> list[Leaf]:
    """Lists parameters and statistics in the order of their paths."""
    state = nnx.state(module, (nnx.Param, nnx.BatchStat))
    return [Leaf(cast(Path, path), variable) for path, variable in nnx.to_flat_state(state)]


def skeleton(
    config: ResNetConfig,
    *,
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike = jnp.float32,
) -> ResNet:
    """Builds a network whose leaves have shapes and dtypes and wait for values."""

    def build() -> ResNet:
        return ResNet(config, dtype=dtype, param_dtype=param_dtype, rngs=cast(nnx.Rngs, _OneKey()))

    return nnx.eval_shape(build)


class _OneKey:
    """Gives the same key to everyone, where the numbers are never drawn.

    `nnx.Rngs` counts its keys, and each count inside a trace takes time in proportion to what was
    traced before: minutes for a thousand layers.
    """

    def params(self) -> jax.Array:
        return jax.random.key(0)

"""The settings that all layers share."""

from typing import TypedDict

from flax import nnx
from jax.typing import DTypeLike


class LayerSettings(TypedDict, total=False):
    """The keyword arguments of every layer and every block.

    Attributes:
        dtype: Dtype of the computation; None, the default, takes it from the input and the
            parameters. Statistics of the norms stay in float32.
        param_dtype: Dtype of the stored parameters; float32 by default.
        rngs: The key `params` initialises the parameters. Only blocks of bound parts need none.
    """

    dtype: DTypeLike | None
    param_dtype: DTypeLike
    rngs: nnx.Rngs

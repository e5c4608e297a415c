"""The interface of array functions with a CPU-specific form or a hand-written derivative.

Nothing else in the package uses `jax.extend` or `jax.interpreters`. On GPUs and TPUs each function
is JAX's own operation, apart from the derivative of `normalize_batch`.
"""

from resnet_jax.layers.ops import experimental_rules as experimental_rules
from resnet_jax.layers.ops.batch_norm import by_feature, normalize_batch, normalize_with
from resnet_jax.layers.ops.convolution import convolve
from resnet_jax.layers.ops.lowering import compute_once, default_jaxpr
from resnet_jax.layers.ops.max_pool import max_pool

__all__ = [
    "by_feature",
    "compute_once",
    "convolve",
    "default_jaxpr",
    "max_pool",
    "normalize_batch",
    "normalize_with",
]

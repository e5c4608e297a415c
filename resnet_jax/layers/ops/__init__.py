"""Array functions that have a form of their own on CPUs or a derivative by hand: one door.

Nothing else in the package touches `jax.extend` or `jax.interpreters`. On GPUs and TPUs each
function is JAX's own operation, apart from the derivative of `normalize_batch`.
"""

from resnet_jax.layers.ops.batch_norm import normalize_batch, normalize_with
from resnet_jax.layers.ops.convolution import convolve
from resnet_jax.layers.ops.lowering import compute_once, default_jaxpr
from resnet_jax.layers.ops.max_pool import max_pool

__all__ = [
    "compute_once",
    "convolve",
    "default_jaxpr",
    "max_pool",
    "normalize_batch",
    "normalize_with",
]

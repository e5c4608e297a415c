"""The interface of array functions with a CPU-specific form or a hand-written derivative.

Two modules serve the initialisation: parts of random arrays, and parts of traced programs. Nothing
else in the package uses `jax.extend` or `jax.interpreters`. On GPUs and TPUs each function
is JAX's own operation, apart from the derivatives of `normalize_batch` and, on GPUs, `max_pool`,
and from `blur_pool` on TPUs.
"""

from resnet_jax.layers.ops import experimental_rules as experimental_rules
from resnet_jax.layers.ops.batch_norm import by_feature, normalize_batch, normalize_with
from resnet_jax.layers.ops.blur_pool import blur_pool
from resnet_jax.layers.ops.convolution import convolve
from resnet_jax.layers.ops.folded_norm import convolve_folded
from resnet_jax.layers.ops.lowering import compute_once, default_jaxpr
from resnet_jax.layers.ops.max_pool import max_pool
from resnet_jax.layers.ops.normal import draws_by_index, normal_numbers
from resnet_jax.layers.ops.programs import constant_outputs, inputs_of_outputs, run_part

__all__ = [
    "blur_pool",
    "by_feature",
    "compute_once",
    "constant_outputs",
    "convolve",
    "convolve_folded",
    "default_jaxpr",
    "draws_by_index",
    "inputs_of_outputs",
    "max_pool",
    "normal_numbers",
    "normalize_batch",
    "normalize_with",
    "run_part",
]

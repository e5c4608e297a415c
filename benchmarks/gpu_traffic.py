"""Attempts to move fewer bytes in ResNet-50's training step on an H200; nothing runs, all compile.

    python -m benchmarks.gpu_traffic ATTEMPT --json benchmarks/counts/gpu_traffic.json

Each attempt changes how the step is written, not what it computes. A compiler that fails is a
result too. The extra `cuda` is needed, a GPU is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from benchmarks.compiled import CONFIG, SIZE
from resnet_jax.aot.hlo import memory_traffic, opcodes, parse_hlo
from resnet_jax.aot.lowering import lower_step
from resnet_jax.aot.topology import compile_for, describe_topology
from resnet_jax.layers import BatchNorm
from resnet_jax.layers.ops import convolution, normalize_batch
from resnet_jax.machine.mesh import mesh_of
from resnet_jax.models.tables import ACTIVATIONS
from resnet_jax.training.step import steps

_SAVED = ("conv_general_dilated", "per_platform")


def _save_convolutions(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name in _SAVED


def _checkpointed(prevent_cse: bool) -> Callable[[], None]:
    """Keeps the outputs of convolutions only; norms and activations are computed again."""

    def apply() -> None:
        plain = steps._make_loss_fn

        def make(*words: Any) -> Any:
            return jax.checkpoint(plain(*words), policy=_save_convolutions, prevent_cse=prevent_cse)

        setattr(steps, plain.__name__, make)

    return apply


def _pointwise_products() -> None:
    """Writes 1x1 convolutions of stride 1 as products of two matrices."""

    def gpu(self: Any, inputs: jax.Array, kernel: jax.Array) -> jax.Array:
        if self.stride > 1:
            return self.default(inputs, kernel)
        rows = inputs.reshape(-1, inputs.shape[-1])
        product = lax.dot(rows, kernel[0, 0])
        return product.reshape(*inputs.shape[:3], kernel.shape[3])

    convolution._Pointwise.gpu = gpu  # type: ignore[method-assign]


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _norm_and_relu(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Applies ReLU after BatchNorm, x [batch, height, width, features]."""
    normalized, _, _ = normalize_batch(_floats(x), scale=scale, bias=bias, epsilon=epsilon)
    return jnp.maximum(normalized[0].astype(x.dtype), 0)


@_norm_and_relu.defjvp
def _norm_and_relu_jvp(epsilon: float, primals: Any, tangents: Any) -> Any:
    """Masks the gradient once for the sums and once for the result, not for both at once.

    Two consumers of a masked gradient make XLA write it.
    """
    x, scale, bias = primals
    x_dot, scale_dot, bias_dot = tangents
    values, x_dot = _floats(x), _floats(x_dot)
    _, mean, var = normalize_batch(values, scale=scale, bias=bias, epsilon=epsilon)
    root = lax.rsqrt(var + epsilon)

    def masked(x: jax.Array, tangent: jax.Array) -> jax.Array:
        normalized = (_floats(x) - mean) * (root * scale) + bias
        return jnp.where(lax.stop_gradient(normalized[0].astype(x.dtype)) > 0, tangent[0], 0)

    again = lax.optimization_barrier(lax.stop_gradient(x))  # otherwise both masks become one
    centred = _floats(again) - mean
    mean_dot, var_dot = _average(x_dot), 2 * _average(centred * x_dot)
    slope_dot = root * scale_dot - 0.5 * root**3 * scale * var_dot
    offset_dot = bias_dot - root * scale * mean_dot
    rest = centred * slope_dot + jnp.broadcast_to(offset_dot, values.shape)
    out = _norm_and_relu(x, scale, bias, epsilon)
    return out, (masked(x, root * scale * x_dot) + masked(again, rest)).astype(x.dtype)


def _floats(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)[None]


def _average(x: jax.Array) -> jax.Array:
    return jnp.mean(x, (1, 2, 3), keepdims=True)


def _masks_computed_again() -> None:
    """Differentiates each BatchNorm together with the ReLU that follows it."""
    normalize, made_of = BatchNorm.__call__, {}

    def remembering(self: Any, x: jax.Array) -> jax.Array:
        out = normalize(self, x)
        if not self.use_running_average:
            made_of[id(out)] = out, self, x
        return out

    def relu(x: jax.Array) -> jax.Array:
        if id(x) not in made_of:
            return nnx.relu(x)
        _, norm, inputs = made_of[id(x)]
        return _norm_and_relu(inputs, norm.scale[...], norm.bias[...], norm.epsilon)

    BatchNorm.__call__ = remembering  # type: ignore[method-assign]
    ACTIVATIONS["relu"] = relu  # type: ignore[index]


ATTEMPTS: dict[str, tuple[Callable[[], None], ...]] = {
    "as it is": (),
    "only outputs of convolutions kept": (_checkpointed(True),),
    "the same, XLA may merge what is repeated": (_checkpointed(False),),
    "1x1 convolutions as products": (_pointwise_products,),
    "1x1 as products, only outputs kept": (_pointwise_products, _checkpointed(True)),
    "masks computed again": (_masks_computed_again,),
    "1x1 as products, only outputs kept, merged": (_pointwise_products, _checkpointed(False)),
    "norms folded": (),
    "norms folded, masks computed again": (_masks_computed_again,),
}


def main() -> int:
    """Compiles one attempt, and adds its figures to a file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("attempt", choices=tuple(ATTEMPTS))
    parser.add_argument("--json", type=pathlib.Path, help="where to write the figures")
    flags = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    for change in ATTEMPTS[flags.attempt]:
        change()
    fold = flags.attempt.startswith("norms folded")
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, fold_norms=fold))
    topology = describe_topology("h200")
    lowered = lower_step(config, mesh_of(topology.devices), step="training", size=SIZE).lowered
    found: dict[str, Any]
    try:
        compiled = compile_for(topology, lowered)
    except jax.errors.JaxRuntimeError as error:
        found = {"failed": " ".join(str(error).split())[:200]}
    else:
        module, stats = parse_hlo(compiled), compiled.memory_analysis()
        assert stats is not None
        found = {
            "gigabytes": memory_traffic(module, platform="cuda") / 1e9,
            "temporary_gigabytes": stats.temp_size_in_bytes / 1e9,
            "fusions": opcodes(module)["fusion"],
        }
    print(flags.attempt, found, flush=True)
    if flags.json:
        old = json.loads(flags.json.read_text()) if flags.json.exists() else {}
        flags.json.write_text(json.dumps(old | {flags.attempt: found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

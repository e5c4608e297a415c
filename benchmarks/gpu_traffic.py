"""Attempts to move fewer bytes in ResNet-50's training step on an H200; nothing runs, all compile.

    python -m benchmarks.gpu_traffic ATTEMPT --json benchmarks/counts/gpu_traffic.json

Each attempt changes how the step is written, not what it computes. A compiler that fails is a
result too. The extra `cuda` is needed, a GPU is not.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from benchmarks.compiled import CONFIG, SIZE
from resnet_jax.aot.hlo import memory_traffic, opcodes, parse_hlo
from resnet_jax.aot.lowering import lower_step
from resnet_jax.aot.topology import compile_for, describe_topology
from resnet_jax.layers.ops import convolution
from resnet_jax.machine.mesh import mesh_of
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


ATTEMPTS: dict[str, tuple[Callable[[], None], ...]] = {
    "as it is": (),
    "only outputs of convolutions kept": (_checkpointed(True),),
    "the same, XLA may merge what is repeated": (_checkpointed(False),),
    "1x1 convolutions as products": (_pointwise_products,),
    "1x1 as products, only outputs kept": (_pointwise_products, _checkpointed(True)),
    "1x1 as products, only outputs kept, merged": (_pointwise_products, _checkpointed(False)),
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
    topology = describe_topology("h200")
    lowered = lower_step(CONFIG, mesh_of(topology.devices), step="training", size=SIZE).lowered
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

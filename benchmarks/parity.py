"""Are our networks those of timm? Measures every name and writes docs/parity.md.

    python benchmarks/parity.py                     # all of them; needs `make peers`
    python benchmarks/parity.py 'resnetv2*' --json parity.json

timm builds each network with random weights, with statistics and scales that are not those of the
start, and computes logits of random images in evaluation mode; ours loads the state dict and
computes them as well. The error is the greatest difference over the greatest logit. Everything is
in float32 on the CPU. Ours runs operation by operation, which for a single batch is quicker than
compiling some three hundred layers.
"""

import argparse
import json
import math
import pathlib
import time
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resnet_jax import list_models, model_config
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import pretrained_tags

SIZE = 64
BATCH = 2
PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "parity.md"
HEADER = f"""# Parity with timm

All networks that timm 1.0.31 registers in `resnet.py` and `resnetv2.py`, except the two pruned
ones. timm builds each network with random weights, BatchNorm statistics and scales. We load it with
`resnet_jax.weights.load_torch`, and both run {BATCH} random images of {SIZE} x {SIZE} in evaluation
mode, in float32, on a CPU. The error is the largest difference between the logits divided by the
largest logit. The numbers of parameters are identical. The remaining error is float32 rounding,
which networks with standardised kernels magnify: each framework is as far from its own result in
float64, and in float64 the two differ by 4e-14 (resnetv2_50x1_bit).
`python benchmarks/parity.py` writes this page.

| name | parameters | error |
|---|---:|---:|
"""


def import_timm() -> types.ModuleType:
    """Imports timm beside a torchvision without its compiled half."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    timm.declared_operators = library  # they live as long as this object
    return timm


def randomize(network: Any, torch: types.ModuleType, seed: int = 0) -> None:
    """Moves scales, biases and statistics of a torch network away from where they start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point() or tensor.ndim > 1:
                continue
            if name.endswith("weight") and not tensor.any():
                # timm starts the last scale of a branch at zero. Small ones keep sums over a
                # hundred blocks small: huge activations make any two computations differ.
                tensor.uniform_(0.1, 0.3, generator=generator)
            elif name.endswith(("running_var", "weight", "v")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            else:
                tensor.normal_(0.0, 0.1, generator=generator)


def measure(name: str, timm: types.ModuleType, torch: types.ModuleType) -> dict[str, Any]:
    """Compares one network; see the head of this file."""
    start = time.perf_counter()
    torch.manual_seed(0)
    theirs = timm.create_model(name).eval()
    randomize(theirs, torch)
    images = np.random.default_rng(0).normal(size=(BATCH, SIZE, SIZE, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    ours = skeleton(model_config(name))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(ours, nnx.Param)))
    if parameters != sum(parameter.numel() for parameter in theirs.parameters()):
        raise SystemExit(f"error: {name} has {parameters} parameters here, and others in timm")
    load_torch(ours, theirs.state_dict())
    del theirs
    ours.eval()
    logits = np.asarray(ours(jnp.asarray(images)))
    error = float(np.abs(logits - expected).max() / np.abs(expected).max())
    seconds = time.perf_counter() - start
    print(f"{name:32}{parameters:>12,}{error:>10.1e}{seconds:>7.1f} s", flush=True)
    return {"name": name, "parameters": parameters, "error": error}


def main() -> None:
    """Measures the names that match a pattern; writes the page where that is all of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", nargs="?", default="*")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    timm = import_timm()
    import torch

    rows = [
        measure(name, timm, torch)
        for name in list_models(arguments.pattern)
        if pretrained_tags(name)
    ]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    worst = max(rows, key=lambda row: row["error"])
    print(f"{len(rows)} networks; the greatest error is {worst['error']:.1e}, of {worst['name']}")
    if arguments.pattern == "*":
        lines = [f"| {r['name']} | {r['parameters']:,} | {r['error']:.1e} |\n" for r in rows]
        PAGE.write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()

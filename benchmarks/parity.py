"""Are our networks those of timm? Measures every name and writes docs/parity.md.

    python -m benchmarks.parity                    # all of them; needs `make peers`
    python -m benchmarks.parity 'resnetv2*'         # those; the page keeps what it says of others

timm builds each network with random weights, with statistics and scales that are not those of the
start, and computes logits of random images in evaluation mode; ours loads the state dict and
computes them as well. The error is the greatest difference over the greatest logit. The same is
done for maps and logits of one image at odd, even and not square sizes, and with an output stride;
there the error is the greatest of all of them, each over its own greatest value. Everything is in
float32 on the CPU. The logits at one size are computed operation by operation, and so is all of a
deep network: for a single batch that is quicker than compiling some three hundred layers.
"""

import argparse
import json
import math
import pathlib
import time
import types
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.contest import machine
from resnet_jax import ResNet, list_models, model_config
from resnet_jax.weights import load_torch
from resnet_jax.weights.leaves import skeleton
from resnet_jax.zoo import pretrained_tags

SIZE = 64
BATCH = 2
# Rows and columns. timm refuses some of them for networks with average pools, whose branches round
# odd maps down while the shortcuts round up.
SIZES = ((64, 64), (65, 65), (63, 98), (66, 97), (95, 64), (71, 82), (75, 75), (100, 61))
# The strides of the last map that timm offers besides the usual one, and the sizes for each.
DILATED = {8: ((65, 66), (71, 82)), 16: ((65, 66), (71, 82))}
COMPILED_BLOCKS = 40
ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "parity_results.json"
PAGE = ROOT / "docs" / "parity.md"
HEADER = f"""# Parity with timm

All networks that timm 1.0.31 registers in `resnet.py` and `resnetv2.py`, except the two pruned
ones. timm builds each network with random weights, BatchNorm statistics and scales. We load it with
`resnet_jax.load_torch`, and both run random images in evaluation mode, in float32, on a
CPU. The numbers of parameters are identical.

- `64 x 64`: {BATCH} images of {SIZE} x {SIZE}. The error is the largest difference between the
  logits divided by the largest logit.
- `{len(SIZES)} sizes`: one image of each size. We compare the logits and the maps after the stem
  and each stage; the error is the largest over all of these. The sizes are
  {", ".join(f"{h} x {w}" for h, w in SIZES)}.
- `dilated`: the same with `output_stride` {" and ".join(map(str, DILATED))}, at \
{" and ".join(f"{h} x {w}" for h, w in DILATED[8])}.

Networks with average pools in their blocks (`resnetaa` and the like) have fewer sizes: their number
is in brackets. Where a block would halve an odd map, timm's pool rounds down and the shortcut
rounds up, and timm fails. Ours rounds up in both.

The remaining error is float32 rounding, which networks with standardised kernels magnify: each
framework is as far from its own result in float64, and in float64 the two differ by less than
1e-13 at every size (resnetv2_50x1_bit). `python -m benchmarks.parity` writes this page and
docs/parity_results.json.

| name | parameters | 64 x 64 | {len(SIZES)} sizes | dilated |
|---|---:|---:|---:|---:|
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
    ours = skeleton(model_config(name))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(ours, nnx.Param)))
    if parameters != sum(parameter.numel() for parameter in theirs.parameters()):
        raise SystemExit(f"error: {name} has {parameters} parameters here, and others in timm")
    load_torch(ours, theirs.state_dict())
    ours.eval()
    images, same = random_images(torch, (SIZE, SIZE), BATCH)
    with torch.no_grad():
        error = difference(ours(images), theirs(same))
    row: dict[str, Any] = {"name": name, "parameters": parameters, "error": error}
    found = [compare(ours, theirs, torch, size) for size in SIZES]
    row["sizes_error"], row["sizes"] = _greatest(found)
    found = []
    for stride, sizes in DILATED.items():
        dilated = timm.create_model(name, output_stride=stride).eval()
        dilated.load_state_dict(theirs.state_dict())
        alike = skeleton(model_config(name, output_stride=stride))
        nnx.update(alike, nnx.state(ours))
        alike.eval()
        found += [compare(alike, dilated, torch, size) for size in sizes]
        del dilated, alike
    row["dilated_error"], row["dilated"] = _greatest(found)
    seconds = time.perf_counter() - start
    errors = "".join(f"{row[key]:>10.1e}" for key in ("error", "sizes_error", "dilated_error"))
    print(f"{name:32}{parameters:>12,}{errors}{seconds:>7.1f} s", flush=True)
    return row


def random_images(
    torch: types.ModuleType, size: tuple[int, int], batch: int = 1
) -> tuple[jax.Array, Any]:
    """Returns the same random images for us [batch, *size, 3] and for torch [batch, 3, *size]."""
    images = np.random.default_rng(0).normal(size=(batch, *size, 3)).astype(np.float32)
    return jnp.asarray(images), torch.from_numpy(images).permute(0, 3, 1, 2)


def difference(ours: jax.Array, theirs: Any) -> float:
    """Returns the greatest difference over the greatest value; of maps in NHWC and NCHW.

    Raises:
        SystemExit: The shapes differ.
    """
    mine, expected = np.asarray(ours), theirs.detach().numpy()
    if expected.ndim == 4:
        expected = expected.transpose(0, 2, 3, 1)
    if mine.shape != expected.shape:
        raise SystemExit(f"error: shape {mine.shape} here, and {expected.shape} in timm")
    return float(np.abs(mine - expected).max() / np.abs(expected).max())


def compare(
    ours: ResNet, theirs: Any, torch: types.ModuleType, size: tuple[int, int]
) -> float | None:
    """Compares all maps and the logits of an image, in evaluation mode.

    Returns:
        The greatest of the errors; None if timm fails because a block's sides differ in size.
    """
    images, same = random_images(torch, size)
    with torch.no_grad():
        try:
            last, expected = theirs.forward_intermediates(same)
        except RuntimeError as error:
            if "must match the size of tensor" not in str(error):
                raise
            return None
        expected.append(theirs.forward_head(last))
    blocks = sum(ours.config.depths)
    found = (_compiled if blocks < COMPILED_BLOCKS else _outputs)(*nnx.split(ours), images)
    return max(difference(mine, other) for mine, other in zip(found, expected, strict=True))


def _outputs(graphdef: Any, state: Any, images: jax.Array) -> list[jax.Array]:
    network = nnx.merge(graphdef, state)
    maps = network.features(images)
    return [*maps, network.forward_head(maps[-1])]


_compiled = jax.jit(_outputs, static_argnums=0)


def _greatest(errors: Sequence[float | None]) -> tuple[float, int]:
    """Returns the greatest error, and how many there are."""
    known = [error for error in errors if error is not None]
    return max(known), len(known)


def _write(rows: Sequence[dict[str, Any]]) -> None:
    """Writes the results and the page; networks that were not measured now keep their rows."""
    old = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    known = {row["name"]: row for row in (*old, *rows)}
    rows = [known[name] for name in list_models() if name in known]
    RESULTS.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    PAGE.write_text(HEADER + "".join(map(_line, rows)))


def _line(row: dict[str, Any]) -> str:
    cells = [row["name"], f"{row['parameters']:,}", f"{row['error']:.1e}"]
    for key, all_of_them in (("sizes", len(SIZES)), ("dilated", sum(map(len, DILATED.values())))):
        if key in row:
            fewer = "" if row[key] == all_of_them else f" ({row[key]})"
            cells.append(f"{row[f'{key}_error']:.1e}{fewer}")
        else:
            cells.append("not yet run")
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Measures the names that match one of the patterns, and writes the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("patterns", nargs="*", default=["*"])
    arguments = parser.parse_args()
    timm = import_timm()
    import torch

    torch.set_num_threads(1)  # its threads and XLA's would wait for each other
    found = [name for pattern in arguments.patterns for name in list_models(pattern)]
    rows = []
    for name in [name for name in dict.fromkeys(found) if pretrained_tags(name)]:
        rows.append(measure(name, timm, torch))
        _write(rows)
        if len(rows) % 10 == 0:
            jax.clear_caches()  # Linux limits the parts of memory that a process may hold
    for key in ("error", "sizes_error", "dilated_error"):
        worst = max(rows, key=lambda row: row[key])
        print(f"the greatest {key} of {len(rows)} is {worst[key]:.1e}, of {worst['name']}")


if __name__ == "__main__":
    main()

"""Writes docs/benchmarks.md and docs/benchmarks_layers.md from benchmarks/results.

    python -m benchmarks.render

A result is a file that `contest.write` wrote; its heading is here. A section without a result says
"Not yet run".
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
LAYERS_PAGE = ROOT / "docs" / "benchmarks_layers.md"
LAYERS = "convolutions"  # its rows for single layers have a page of their own
SUMMED = (", all layers, ", ", everything else, ")

SECTIONS = {
    "networks_cpu": (
        "Networks on a CPU",
        "python -m benchmarks.networks --json benchmarks/results/networks_cpu.json",
        "`flax` is the same network written in the usual Flax style; it runs on its own, after the "
        "others. `limit` is the lower of two bounds: the operations of the convolutions at the "
        "speed of a matrix product, and the bytes that they must move at the speed of memory. "
        "Inference can exceed it, because Winograd convolutions need fewer operations.",
    ),
    "input_pipeline": (
        "Reading and cropping photographs",
        "python -m benchmarks.input_pipeline --json benchmarks/results/input_pipeline.json",
        "`limit` is decoding only, with libjpeg-turbo at full size.",
    ),
    "startup": (
        "Start-up and memory",
        "python -m benchmarks.startup --json benchmarks/results/startup.json",
        "`linen` is ResNet-50 in Flax Linen, written as in Flax's ImageNet example.",
    ),
    "initialization": (
        "Building a network",
        "python -m benchmarks.initialization --json benchmarks/results/initialization.json",
        "The peer is what Flax does for `ResNet(config, rngs=...)`: one operation after another.",
    ),
    "building": (
        "Memory and time of building a network",
        "python -m benchmarks.building --json benchmarks/results/building.json",
        "Memory is what a fresh process grows by at its peak, compilation and mapped files "
        "included. `limit` is the size of the parameters and statistics.",
    ),
    "training_overhead": (
        "Overhead of the training loop",
        "python -m benchmarks.training_overhead --json benchmarks/results/training_overhead.json",
        "`bare loop` runs the same steps on the same batches, without records and checkpoints.",
    ),
    "digits": (
        "The default recipe",
        "python -m benchmarks.digits --json benchmarks/results/digits.json",
        "`SVC` is scikit-learn's support vector machine, trained on the same split.",
    ),
    LAYERS: (
        "Where the time of a training step goes on a CPU",
        "python -m benchmarks.convolutions --json benchmarks/results/convolutions.json",
        "Milliseconds per step for all layers of a network. Each layer shape is measured on its "
        "own. `lax` is the convolution as Flax calls it; `limit` is the time at the speed of a "
        "matrix product.",
    ),
    "compiled": (
        "What compilers of accelerators make of a training step",
        "python -m benchmarks.compiled v5e v6e v5p h200 --json benchmarks/results/compiled.json",
        "Nothing has run: these are counts of compiled programs. Traffic is what the instructions "
        "read from and write to the chip's memory, `linen` the step of Flax's ImageNet example. "
        "The limit of the traffic is its floor for layers that run one after another "
        "(resnet_jax/aot/floor.py): each convolution and each of its gradients is one pass, with "
        "norm and activation fused: forward 11.1 GB, backward 39.1, block sums 8.5. It counts the "
        "gradient of the images, 1.0 GB, which nobody computes. With one kernel for both gradients "
        "of a convolution it would be 47.4 GB. With `norms folded` (`model.fold_norms`) the widest "
        "maps are not read for their norms, so it moves less than this floor. `images/s at most` "
        "is the traffic at the full speed of the memory. The limit of the memory is what a program "
        "may use of the chip's.",
    ),
    "compiled_scaling": (
        "What chips exchange in a training step",
        "python -m benchmarks.compiled_scaling --json benchmarks/results/compiled_scaling.json",
        "Nothing has run. All figures are those of one chip, whose share of the batch is always "
        "the same. `groups of a chip`: BatchNorm sees the images of a chip. `fsdp`: the state is "
        "sharded as well, and gathered before the network computes. From 4 to 256 chips, a chip "
        "uses the same memory, within 2%, and exchanges the same: the gradients, in bfloat16, and "
        "the statistics, in 3 all-reduces with groups and 40 without. `fsdp` shards each array "
        "along its longest axis that the chips divide: all kernels of ResNet-20 on 4 and 16 chips, "
        "those with 64 features on 64, none on 256. The seconds are those of two cores that had "
        "other work too; they do not grow with the chips, whose program is the same.",
    ),
    "networks_gpu": (
        "Networks on a GPU",
        "python -m benchmarks.networks --device=gpu --json benchmarks/results/networks_gpu.json",
        "",
    ),
    "cifar10_fast": (
        "Time to accuracy on a GPU",
        "python -m benchmarks.cifar10_fast cifar10 --json benchmarks/results/cifar10_fast.json",
        "The recipe `cifar10_fast`, by budgets of epochs. For comparison, airbench's README "
        "gives for its own network on an A100, without compilation: 94% in 2.67 s, 95% in 10.4 s, "
        "96% in 27.3 s.",
    ),
    "cifar10_pytorch": (
        "Training to the end, next to PyTorch",
        """for run in "fast.py:24 --config.model.name=resnet20 --config.model.dtype=float32" \\
    "he2015.py:resnet20 --config.steps=29250"; do
  recipe="--config=configs/cifar10_$run --config.data.name=zip:cifar10.zip"
  python train.py $recipe --workdir=runs/${run%%.*}_here
  python -m benchmarks.cifar10_pytorch $recipe --workdir=runs/${run%%.*}_pytorch
done""",
        "ResNet-20 on CIFAR-10 by one recipe, with the same files and batch order, here and in "
        "PyTorch. The sizes are for two CPU cores: an hour for the fast recipe, three for that of "
        "He et al.",
    ),
}
INTRODUCTION = """# Benchmarks

How fast is it? The table has every comparison on a CPU. `ratio` says how many times faster, sooner,
smaller or more accurate we are than the best peer: above 1 we are ahead, below 1 behind.
"""
NO_ACCELERATOR = "Nothing has been measured on a GPU or a TPU yet.\n"
METHOD = """`python -m benchmarks.render` writes this page from benchmarks/results. No number is
typed by hand.

How it is measured: we and the peers take turns within one run, each in its own process. Figures are
medians over the turns. `spread` is half the interquartile range divided by the median, the largest
of a row. `limit` is the best that the machine could do, measured in the same run. `goal` is the
ratio we aim at, and `allowed` is a bound that we set ourselves. Columns such as `ours, remat` are
other variants of ours, which `ratio` ignores.
"""
LAYERS_INTRODUCTION = """# Benchmarks: single layers

Milliseconds per training step that all layers of one shape take on a CPU, each shape on its own.
The sums are in [benchmarks.md](benchmarks.md), with an explanation of the columns.
"""


def main() -> None:
    """Renders both pages."""
    results = {
        name: json.loads(_file(name).read_text()) for name in SECTIONS if _file(name).exists()
    }
    parts = [INTRODUCTION, _summary(results), METHOD]
    if "networks_gpu" not in results:
        parts.insert(1, NO_ACCELERATOR)
    for name, (title, command, remark) in SECTIONS.items():
        body = "Not yet run."
        if result := results.get(name):
            rows, link = result["rows"], ""
            if name == LAYERS:
                rows = [row for row in rows if any(words in row["name"] for words in SUMMED)]
                link = f"Layer by layer: [{LAYERS_PAGE.name}]({LAYERS_PAGE.name})."
            body = "\n\n".join(filter(None, (remark, _table(rows), _measured_on(result), link)))
            command = _commands(result)
        parts.append(f"## {title}\n\n```sh\n{command}\n```\n\n{body}\n")
    PAGE.write_text("\n".join(parts))
    LAYERS_PAGE.write_text(_layers_page(results[LAYERS]))


def _file(name: str) -> pathlib.Path:
    return RESULTS / f"{name}.json"


def _commands(result: dict[str, Any]) -> str:
    return "\n".join(dict.fromkeys(row["command"] for row in result["rows"]))


def _summary(results: dict[str, Any]) -> str:
    """Compares each row that has a ratio with its best peer, in a table of four columns."""
    lines = ["| what | ours | best peer | ratio |", "|---|---:|---:|---:|"]
    for name, result in results.items():
        for row in result["rows"] if name != LAYERS else ():
            if row["ratio"] is not None:
                peer = _best_peer(row)
                cells = [figure(row["ours"]), f"{figure(row['peers'][peer])} ({peer})"]
                lines.append("| " + " | ".join([row["name"], *cells, _ratio(row["ratio"])]) + " |")
    return "\n".join(lines) + "\n"


def _best_peer(row: dict[str, Any]) -> str:
    """Finds the peer that the ratio was computed from; more may be better or worse."""
    peers = [peer for peer in row["peers"] if not peer.startswith("ours")]

    def distance(peer: str) -> float:
        quotient = row["ours"] / row["peers"][peer]
        return min(abs(quotient - row["ratio"]), abs(1 / quotient - row["ratio"]))

    return min(peers, key=distance)


def _layers_page(result: dict[str, Any]) -> str:
    parts = [LAYERS_INTRODUCTION, f"```sh\n{_commands(result)}\n```\n"]
    networks = dict.fromkeys(row["name"].partition(",")[0] for row in result["rows"])
    for network in networks:
        rows = [row for row in result["rows"] if row["name"].partition(",")[0] == network]
        single = [row for row in rows if not any(words in row["name"] for words in SUMMED)]
        parts.append(f"## {network}\n\n{_table(single)}\n")
    return "\n".join([*parts, _measured_on(result) + "\n"])


def _table(rows: Sequence[dict[str, Any]]) -> str:
    peers = list(dict.fromkeys(peer for row in rows for peer in row["peers"]))
    columns = {  # of the optional ones, those with a figure
        "limit": [figure(row["limit"]) for row in rows],
        "ratio": [_ratio(row["ratio"]) for row in rows],
        "goal": [_ratio(row["goal"]) for row in rows],
        "spread": ["" if row["spread"] is None else f"{row['spread']:.0%}" for row in rows],
    }
    columns = {head: cells for head, cells in columns.items() if any(cells)}
    heads = ["what", "ours", *peers, *columns]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for index, row in enumerate(rows):
        figures = [row["ours"], *(row["peers"].get(peer) for peer in peers)]
        cells = [
            row["name"],
            *map(figure, figures),
            *(column[index] for column in columns.values()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _measured_on(result: dict[str, Any]) -> str:
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return f"Measured on: {about}." + _limits(result["limits"])


def _limits(limits: dict[str, float]) -> str:
    """Says how fast the machine itself was, in units of 1e9: the range over the rows."""
    rates: dict[str, list[float]] = {}
    for name, rate in limits.items():
        _, of_a_row, unit = name.partition(": ")
        if of_a_row:
            rates.setdefault(unit, []).append(rate / 1e9)
    words = [f"{min(each):,.0f} to {max(each):,.0f} G{unit}" for unit, each in rates.items()]
    return f" The limits: {', '.join(words)}." if words else ""


def figure(value: float | None) -> str:
    """Writes a figure as the pages do: with two decimals below 100."""
    return "" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()

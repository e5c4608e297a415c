"""Writes docs/benchmarks.md from the results that are kept in benchmarks/results.

    python -m benchmarks.render

A result is a file that `contest.write` wrote; its heading is here. What was not run yet says so.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

SECTIONS = {
    "networks_cpu": (
        "Networks on a CPU",
        "python -m benchmarks.networks --json benchmarks/results/networks_cpu.json",
        "`flax` is the same network in Flax's usual way; it works by itself after the others. "
        "`limit` is the lower of two: the rate of a matrix product over the operations of the "
        "convolutions, and the rate of memory over the bytes that they move at the least. "
        "Evaluation can lie above it: Winograd's form of a convolution has fewer operations.",
    ),
    "input_pipeline": (
        "Photographs, read and cut",
        "python -m benchmarks.input_pipeline --json benchmarks/results/input_pipeline.json",
        "`limit` is decoding alone, by libjpeg-turbo at full size.",
    ),
    "startup": (
        "Start-up and memory",
        "python -m benchmarks.startup --json benchmarks/results/startup.json",
        "`linen` is ResNet-50 in Flax Linen, written as in Flax's ImageNet example.",
    ),
    "initialization": (
        "Building a network",
        "python -m benchmarks.initialization --json benchmarks/results/initialization.json",
        "The peer is what Flax does for `ResNet(config, rngs=...)`.",
    ),
    "training_overhead": (
        "The machinery around the step",
        "python -m benchmarks.training_overhead --json benchmarks/results/training_overhead.json",
        "`bare loop` takes the same steps on the same batches, without records and checkpoints.",
    ),
    "digits": (
        "The default recipe",
        "python -m benchmarks.digits --json benchmarks/results/digits.json",
        "`SVC` is scikit-learn's support vector machine, trained on the same split.",
    ),
    "convolutions": (
        "Where a training step goes on a CPU",
        "python -m benchmarks.convolutions --json benchmarks/results/convolutions.json",
        "Milliseconds that all layers of a shape take in a step, each shape alone. `lax` is the "
        "convolution as Flax calls it; `limit` is the time at the rate of a matrix product.",
    ),
    "networks_gpu": (
        "Networks on a GPU",
        "python -m benchmarks.networks --device=gpu --json benchmarks/results/networks_gpu.json",
        "",
    ),
    "cifar10_fast": (
        "Time to accuracy on a GPU",
        "python -m benchmarks.cifar10_fast cifar10 --json benchmarks/results/cifar10_fast.json",
        "The recipe `cifar10_fast` for three budgets of epochs. For comparison, airbench's README "
        "gives for its own network on an A100, without compilation: 94% in 2.67 s, 95% in 10.4 s, "
        "96% in 27.3 s.",
    ),
}
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks.render` from benchmarks/results; nothing here is typed by hand.
Ours and its peers work in turn in one run, each in a process of its own. Figures are medians over
the turns, and `spread` is half of the distance between the quartiles over the median, the largest
of a row. `ratio` says how many times as fast, as soon or as small as the best of the peers ours is:
above 1 we are ahead; other forms of ours do not count for it. `limit` is what the machine could do
at the best, measured in the same run.
"""


def main() -> None:
    """Renders the page."""
    parts = [INTRODUCTION]
    for name, (title, command, remark) in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        body = "Not yet run."
        if path.exists():
            result = json.loads(path.read_text())
            body = "\n\n".join(filter(None, (remark, _table(result))))
            command = "\n".join(dict.fromkeys(row["command"] for row in result["rows"]))
        parts.append(f"## {title}\n\n```sh\n{command}\n```\n\n{body}\n")
    PAGE.write_text("\n".join(parts))


def _table(result: dict[str, Any]) -> str:
    peers = list(dict.fromkeys(peer for row in result["rows"] for peer in row["peers"]))
    heads = ["what", "ours", *peers, "limit", "ratio", "goal", "spread"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in result["rows"]:
        figures = [row["ours"], *(row["peers"].get(peer) for peer in peers), row["limit"]]
        cells = [row["name"], *map(_figure, figures), *map(_ratio, (row["ratio"], row["goal"]))]
        spread = "" if row["spread"] is None else f"{100 * row['spread']:.0f}%"
        lines.append("| " + " | ".join([*cells, spread]) + " |")
    about = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return "\n".join(lines) + f"\n\nMeasured on: {about}." + _limits(result["limits"])


def _limits(limits: dict[str, float]) -> str:
    """Says how fast the machine itself was, in thousand millions: the range over the rows."""
    rates: dict[str, list[float]] = {}
    for name, rate in limits.items():
        _, of_a_row, unit = name.partition(": ")
        if of_a_row:
            rates.setdefault(unit, []).append(rate / 1e9)
    words = [f"{min(each):,.0f} to {max(each):,.0f} G{unit}" for unit, each in rates.items()]
    return f" The limits: {', '.join(words)}." if words else ""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()

"""How good, and how fast, is the default recipe? Trains it once a seed, each in its own process.

    python -m benchmarks.digits --json benchmarks/results/digits.json
    python -m benchmarks.digits --seeds 1

The time is that of the whole process: start, data, compilation with an empty cache, training,
evaluation, checkpoints. The peer is scikit-learn's support vector machine on the same split.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from benchmarks import contest, runs

ALLOWED = 90.0  # seconds for a run


def support_vectors() -> float:
    """Returns the accuracy of the peer."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images, labels, test_size=360, stratify=labels, random_state=0)
    train_images, test_images, train_labels, test_labels = parts
    machine = SVC(gamma=0.001, C=10).fit(train_images, train_labels)
    return float(machine.score(test_images, test_labels))


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, prints a line a seed and the rows, and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args(arguments)
    accuracies, times = [], []
    for seed in range(flags.seeds):
        with runs.trained(f"--config.seed={seed}") as run:
            accuracy = run.records[-1]["test_accuracy"]
        print(f"seed {seed}  accuracy {accuracy:.2%}  {run.seconds:.0f} s", flush=True)
        accuracies.append(100 * accuracy)
        times.append(run.seconds)
    peer = 100 * support_vectors()
    mean = sum(accuracies) / len(accuracies)
    of = f"digits, {flags.seeds} seeds"

    def row(name: str, ours: float, peers: dict[str, float], goal: float | None) -> contest.Row:
        figures = {who: [figure] for who, figure in {"ours": ours, **peers}.items()}
        less = name.endswith("seconds")
        return contest.row(f"{of}, {name}", figures, limit=None, goal=goal, less_is_better=less)

    rows = [
        row("mean test accuracy, %", mean, {"SVC": peer}, 99.0 / peer),
        row("worst test accuracy, %", min(accuracies), {"SVC": peer}, 98.3 / peer),
        row("slowest run, seconds", max(times), {"allowed": ALLOWED}, 1.0),
    ]
    for each in rows:
        contest.show(each)
    if flags.json:
        contest.write(flags.json, rows, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())

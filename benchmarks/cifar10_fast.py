"""How soon does the fast recipe for CIFAR-10 reach an accuracy, on one accelerator?

    python -m benchmarks.cifar10_fast cifar10 --json benchmarks/results/cifar10_fast.json
    python -m benchmarks.cifar10_fast zip:cifar10.zip --epochs 10 30 --seeds 1
    python -m benchmarks.cifar10_fast digits --epochs 1 --seeds 1 -- --config.data.channels=3

Trains `configs/cifar10_fast.py` for each budget of epochs, once a seed, each run in a process of
its own, and evaluates it with its mirror images, as the recipe has it. There are two times: that of
the whole process with nothing compiled, and that of its steps alone, at the median of the rates
that it recorded. The time to an accuracy is that of the smallest budget whose mean reaches it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import statistics
import sys
from collections.abc import Sequence

from benchmarks import contest, runs
from resnet_jax.training.workdir.layout import Workdir

ACCURACIES = (94.0, 95.0, 96.0)  # those that airbench names, in percent


@dataclasses.dataclass(frozen=True)
class Budget:
    """What came of a number of epochs, a figure a seed.

    Attributes:
        epochs: That number.
        accuracy: On the test split, in percent.
        whole: Seconds of the process.
        steps: Seconds of its steps alone.
    """

    epochs: int
    accuracy: list[float]
    whole: list[float]
    steps: list[float]


def measure(data: str, epochs: int, seeds: int, further: Sequence[str]) -> Budget:
    """Trains with each seed.

    Args:
        data: The name of the set, as a recipe takes it.
        epochs: The budget.
        seeds: Number of runs.
        further: Arguments of `train.py`.
    """
    budget = Budget(epochs, [], [], [])
    for seed in range(seeds):
        recipe = f"--config=configs/cifar10_fast.py:{epochs}"
        settings = (f"--config.data.name={data}", f"--config.seed={seed}", *further)
        with runs.trained(recipe, *settings) as run:
            printed = runs.command("eval", f"--workdir={run.workdir}", "--tta=flip", "--json")
            batch_size = Workdir(run.workdir).read_config().batch_size
        images = run.records[-1]["step"] * batch_size
        budget.accuracy.append(100 * json.loads(printed)["accuracy"])
        budget.whole.append(run.seconds)
        budget.steps.append(images / run.images_per_second())
        last = f"{budget.accuracy[-1]:.2f}%  {run.seconds:.1f} s  steps {budget.steps[-1]:.1f} s"
        print(f"{epochs} epochs  seed {seed}  {last}", flush=True)
    return budget


def summarize(of: str, budgets: Sequence[Budget]) -> list[contest.Row]:
    """Makes the rows.

    Args:
        of: What was trained on.
        budgets: From the smallest to the largest.
    """

    def row(name: str, values: Sequence[float], *, less: bool = True) -> contest.Row:
        figures = {"ours": values}
        return contest.row(f"{of}, {name}", figures, limit=None, goal=None, less_is_better=less)

    rows = []
    for budget in budgets:
        title, mean = f"{budget.epochs} epochs", statistics.mean(budget.accuracy)
        accuracies = row(f"{title}, mean test accuracy, %", budget.accuracy, less=False)
        rows.append(dataclasses.replace(accuracies, ours=mean))
        rows.append(row(f"{title}, the whole process, seconds", budget.whole))
        rows.append(row(f"{title}, its steps alone, seconds", budget.steps))
    for accuracy in ACCURACIES:
        reached = [each for each in budgets if statistics.mean(each.accuracy) >= accuracy]
        if reached:
            rows.append(row(f"{accuracy:.0f}%, the whole process, seconds", reached[0].whole))
            rows.append(row(f"{accuracy:.0f}%, steps alone, seconds", reached[0].steps))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains, prints a line a run and the rows of each budget, and writes all where asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        epilog="what follows -- goes to train.py, such as --config.data.data_dir=DIR",
    )
    parser.add_argument("data", help="cifar10 as prepared, folder:PATH or zip:PATH")
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 15, 30])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    flags = parser.parse_args(words[:end])
    if flags.seeds < 1:
        parser.error(f"--seeds={flags.seeds}: give 1 or more")
    if flags.json and not flags.json.parent.is_dir():
        parser.error(f"--json={flags.json}: there is no such folder; make it first")
    data = name = flags.data
    kind, _, path = data.partition(":")
    if kind in ("folder", "zip"):  # train.py runs elsewhere
        data, name = f"{kind}:{pathlib.Path(path).resolve()}", f"{kind}:{pathlib.Path(path).name}"
    budgets = []
    for epochs in sorted(set(flags.epochs)):
        budgets.append(measure(data, epochs, flags.seeds, words[end + 1 :]))
        rows = summarize(f"{name}, {flags.seeds} seeds", budgets)
        if flags.json:
            contest.write(flags.json, rows, {})
    for each in rows:
        contest.show(each)
    return 0


if __name__ == "__main__":
    sys.exit(main())

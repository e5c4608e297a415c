"""How long until something happens, and how much memory does a training step take?

    python -m benchmarks.startup --json benchmarks/results/startup.json

Everything is measured in fresh processes, ours and the peers' in turn. `import` is the time of the
statement. `first step` is ResNet-50 at 224 pixels in a batch of 16 on a CPU, from the start of
a program to the end of its first training step: imports, random parameters, compilation; once with
an empty cache of compiled code, and once with what that run left there, as `resnet-jax train` does
of its own accord. `second step` is what both contain beside it. Flax Linen is the same network
written as in Flax's ImageNet example.
`memory` is what the resident memory of the process grows by, at its peak, from the imports on to
the end of the third step.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import contest
from benchmarks.cases import CPU_CASES, Case
from benchmarks.networks import CONTESTANTS, Step, training_step

CASE = next(case for case in CPU_CASES if case.model == "resnet50")
IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"
NOTHING_KEPT = {"JAX_ENABLE_COMPILATION_CACHE": "0"}
IMPORTS = 10  # a round: they take a second, and the disk makes one in five longer
KILOBYTE = 2**10 if sys.platform == "linux" else 1  # of ru_maxrss


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the rows and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", nargs=2, help=argparse.SUPPRESS)
    flags = parser.parse_args(arguments)
    if flags.contestant:
        what, who = flags.contestant
        print(*MEASURES[what](PROGRAMS[who]))
        return 0
    rows = []

    def add(
        goals: Mapping[str, float | None],
        programs: Mapping[str, Sequence[str]],
        times: int = 1,
        settings: Callable[[int], Mapping[str, str]] = lambda _: NOTHING_KEPT,
    ) -> None:
        """Adds the rows of the first numbers that the programs print, by their names."""
        measured = _in_turn(programs, times * flags.rounds, settings)
        for place, (name, goal) in enumerate(goals.items()):
            figures = {who: [turn[place] for turn in turns] for who, turns in measured.items()}
            rows.append(contest.row(name, figures, limit=None, goal=goal, less_is_better=True))
            contest.show(rows[-1])
        if flags.json:
            contest.write(flags.json, rows, {})

    modules = {"ours": "resnet_jax", "flax": "flax"}
    imports = {who: ("-c", IMPORT.format(name)) for who, name in modules.items()}
    add({"import, seconds": 1 / 1.5}, imports, times=IMPORTS)
    first = "resnet50, first step, {}, seconds"
    with tempfile.TemporaryDirectory() as folder:

        def cache(number: int) -> dict[str, str]:
            kept = pathlib.Path(folder, str(number))
            return {"JAX_COMPILATION_CACHE_DIR": str(kept), "JAX_ENABLE_COMPILATION_CACHE": "1"}

        once = _words("first", "ours", "linen")
        add({first.format("nothing cached"): 2.0}, once, settings=cache)
        both = {first.format("all cached"): 1.0, "resnet50, second step, seconds": None}
        add(both, _words("first two", "ours", "linen"), settings=lambda _: cache(0))
    memory = _words("memory", "ours", "ours, remat", "linen", "torch")
    add({"resnet50, training, memory at its peak, MiB": 1.0}, memory)
    return 0


def _words(what: str, *names: str) -> dict[str, tuple[str, ...]]:
    return {who: ("-m", "benchmarks.startup", "--contestant", what, who) for who in names}


def _in_turn(
    programs: Mapping[str, Sequence[str]],
    rounds: int,
    settings: Callable[[int], Mapping[str, str]],
) -> dict[str, list[list[float]]]:
    """Runs fresh processes in turn, each round with its settings of the environment.

    Returns:
        The numbers that each prints last, a list a round.
    """
    figures: dict[str, list[list[float]]] = {who: [] for who in programs}
    for number in range(rounds):
        environment = {**os.environ, **settings(number)}
        for who, words in programs.items():
            done = subprocess.run(
                [sys.executable, *words], env=environment, check=True, stdout=subprocess.PIPE
            )
            figures[who].append([float(word) for word in done.stdout.splitlines()[-1].split()])
    return figures


def _first_step(build: Callable[[], Step]) -> tuple[float]:
    """Returns the seconds to the end of the first step."""
    begin = time.perf_counter()
    build()()
    return (time.perf_counter() - begin,)


def _first_steps(build: Callable[[], Step]) -> tuple[float, float]:
    """Returns the seconds to the end of the first step, and those of the second."""
    begin = time.perf_counter()
    step = build()
    step()
    first = time.perf_counter() - begin
    step()
    return first, time.perf_counter() - begin - first


def _memory(build: Callable[[], Step]) -> tuple[float]:
    for module in ("flax.linen", "optax", "torch"):
        importlib.import_module(module)
    before = _peak()
    step = build()
    for _ in range(3):
        step()
    return (_peak() - before,)


def _peak() -> float:
    """Returns the most memory that this process ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KILOBYTE / 2**20


def _linen(case: Case) -> Step:
    import jax
    import jax.numpy as jnp

    from benchmarks.linen_networks import ResNet50

    model = ResNet50(case.classes)
    images = jnp.asarray(case.random_images())
    one = jnp.ones((1, *case.images[1:]))
    variables = jax.jit(lambda *words: model.init(*words, train=False))(jax.random.key(0), one)

    def forward(params: Any, stats: Any, images: Any) -> tuple[Any, Any]:
        logits, changed = model.apply(
            {"params": params, "batch_stats": stats}, images, train=True, mutable=["batch_stats"]
        )
        return logits, changed["batch_stats"]

    labels = jnp.arange(case.batch) % case.classes
    return training_step(forward, variables["params"], variables["batch_stats"], images, labels)


def _program(who: str) -> Callable[[], Step]:
    return lambda: CONTESTANTS[who](CASE, True, "cpu")


PROGRAMS: dict[str, Callable[[], Step]] = {
    **{who: _program(who) for who in ("ours", "ours, remat", "torch")},
    "linen": lambda: _linen(CASE),
}
MEASURES: dict[str, Callable[[Callable[[], Step]], tuple[float, ...]]] = {
    "first": _first_step,
    "first two": _first_steps,
    "memory": _memory,
}

if __name__ == "__main__":
    sys.exit(main())

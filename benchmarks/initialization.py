"""How long does it take to build a network with random parameters?

    python -m benchmarks.initialization --json benchmarks/results/initialization.json
    python -m benchmarks.initialization resnet18 --rounds 2

Compares `create_model(name)` with `ResNet(config, rngs=nnx.Rngs(0))`, which runs operation by
operation. `a run's state` is that before the first step of training, with the optimizer's memory.
Each measurement is a fresh process, because what is compiled once is not compiled again; the clock
starts when everything is imported and the device has answered.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import contest

WAYS = {
    "ours": "nnx.state(create_model({name!r}))",
    "ours, a run's state": "jax.jit(lambda: initial_state(config, sgd(0.1, momentum=0.9)))()",
    "operation by operation": "nnx.state(ResNet(model_config({name!r}), rngs=nnx.Rngs(0)))",
}
PROGRAM = """
import time, jax
from flax import nnx
from optax import sgd
from resnet_jax import ResNet, create_model, model_config
from resnet_jax.training.recipe.config import ModelConfig, TrainConfig
from resnet_jax.training.step.state import initial_state
config = TrainConfig(model=ModelConfig(name={name!r}))
jax.config.update("jax_enable_compilation_cache", False)
jax.block_until_ready(jax.numpy.zeros(()) + 1)
start = time.perf_counter()
jax.block_until_ready({call})
print(time.perf_counter() - start)
"""


def measure(way: str, name: str) -> float:
    """Returns the seconds that one way takes in a fresh process."""
    program = PROGRAM.format(name=name, call=WAYS[way].format(name=name))
    output = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    return float(output.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures both ways in turn, prints the row and writes it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args(arguments)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(flags.rounds):
        for way, measured in seconds.items():
            measured.append(measure(way, flags.name))
    name = f"{flags.name} with random parameters, seconds"
    row = contest.row(name, seconds, limit=None, goal=1.0, less_is_better=True)
    contest.show(row)
    if flags.json:
        contest.write(flags.json, [row], {})
    return 0


if __name__ == "__main__":
    sys.exit(main())

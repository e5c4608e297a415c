"""How long does it take to build a network with random parameters?

    python benchmarks/initialization.py                  # ResNet-50, the two ways in turn
    python benchmarks/initialization.py resnet18 --rounds 2 --json initialization.json

Compares `create_model(name)` with `ResNet(config, rngs=nnx.Rngs(0))`, which runs operation by
operation. Each measurement is a fresh process, because what is compiled once is not compiled
again; the clock starts when everything is imported and the device has answered.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

WAYS = {
    "create_model": "create_model({name!r})",
    "operation by operation": "ResNet(model_config({name!r}), rngs=nnx.Rngs(0))",
}
PROGRAM = """
import time, jax
from flax import nnx
from resnet_jax import ResNet, create_model, model_config
jax.config.update("jax_enable_compilation_cache", False)
jax.block_until_ready(jax.numpy.zeros(()) + 1)
start = time.perf_counter()
model = {call}
jax.block_until_ready(nnx.state(model))
print(time.perf_counter() - start)
"""


def measure(way: str, name: str) -> float:
    """Returns the seconds that one way takes in a fresh process."""
    program = PROGRAM.format(call=WAYS[way].format(name=name))
    output = subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE)
    return float(output.stdout)


def main() -> None:
    """Measures both ways in turn, and prints their medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way, measured in seconds.items():
            measured.append(measure(way, arguments.name))
    medians = {way: statistics.median(measured) for way, measured in seconds.items()}
    for way, median in medians.items():
        print(f"{arguments.name}, {way:24}{median:6.2f} s")
    fast, slow = medians.values()
    print(f"ratio {fast / slow:.2f}")
    if arguments.json:
        result = {"name": arguments.name, "seconds": seconds, "ratio": fast / slow}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

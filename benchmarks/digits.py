"""How good, and how fast, is the default recipe? Trains it once a seed, each in its own process.

    python benchmarks/digits.py [--seeds 5] [--json PATH]

The time is that of the whole process: start, data, compilation with an empty cache, training,
evaluation, checkpoints.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def train(seed: int) -> dict[str, float]:
    """Trains with a seed in a fresh folder and returns the accuracy and the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder, "run")
        command = [sys.executable, "train.py", f"--workdir={workdir}", f"--config.seed={seed}"]
        # No compiled code from earlier runs.
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(pathlib.Path(folder, "jax"))}
        begin = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
        seconds = time.perf_counter() - begin
        last = (workdir / "metrics.jsonl").read_text().splitlines()[-1]
    record = json.loads(last)
    return {"seed": seed, "accuracy": record["test_accuracy"], "seconds": seconds}


def main() -> None:
    """Trains, prints a line a seed and the summary, and writes the rows where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path)
    flags = parser.parse_args()
    rows = []
    for seed in range(flags.seeds):
        rows.append(train(seed))
        print(
            "seed {seed}  accuracy {accuracy:.2%}  {seconds:.0f} s".format(**rows[-1]), flush=True
        )
    accuracies = [row["accuracy"] for row in rows]
    slowest = max(row["seconds"] for row in rows)
    print(
        f"mean {statistics.mean(accuracies):.2%}  worst {min(accuracies):.2%}  "
        f"slowest {slowest:.0f} s on {os.cpu_count()} cores"
    )
    if flags.json:
        flags.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()

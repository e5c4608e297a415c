"""The command `python -m resnet_jax.study`."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console

from resnet_jax.errors import ConfigError
from resnet_jax.machine.cpu import keep_freed_memory, use_every_core
from resnet_jax.study.plan import make_plan
from resnet_jax.study.run import run

_EXAMPLES = """examples:
  python -m resnet_jax.study                                   # digits, all four claims
  python -m resnet_jax.study --data=zip:cifar10.zip --out=runs/study_cifar10
"""


class _Parser(argparse.ArgumentParser):
    """Reports what is wrong in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; --help lists the flags")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the study and returns the exit status.

    Args:
        arguments: The words of the command line; None takes those of the process.
    """
    console = Console(highlight=False, soft_wrap=True)
    try:
        flags = _parser().parse_args(arguments)
        plan = make_plan(
            flags.data,
            epochs=flags.epochs,
            batch_size=flags.batch_size,
            learning_rate=flags.learning_rate,
            train_split=flags.train_split,
            test_split=flags.test_split,
            seed=flags.seed,
            depths=flags.depths,
            probe_images=flags.probe_images,
        )
        keep_freed_memory()
        use_every_core(plan.recipe.batch_size, plan.recipe.eval_batch_size)
        out = flags.out or pathlib.Path("runs", "study")
        run(plan, out, say=lambda line: console.print(line, markup=False))
    except (ConfigError, OSError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"error: {' '.join(str(error).split())}", markup=False
        )
        return 2
    console.print(f"summary  {out / 'summary.md'}\nnumbers  {out / 'results.json'}", markup=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m resnet_jax.study",
        description="Trains plain and residual networks and measures four claims about them.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", default="digits", help="digits, cifar10, zip:PATH or folder:PATH (digits)")
    add("--out", type=pathlib.Path, help="folder of the results (runs/study)")
    add("--depths", type=_depths, default=(20, 56, 110), help="layers, 6n+2 (20,56,110)")
    add("--epochs", type=int, help="epochs of every training (digits 8, CIFAR-10 164)")
    add("--batch-size", type=int, help="images a step (digits 64, CIFAR-10 128)")
    add(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="the largest one (digits 0.02, CIFAR-10 0.1)",
    )
    add("--train-split", help="such as train[:5000], for a smaller budget (all)")
    add("--test-split", help="such as test[:1000] (test)")
    add("--probe-images", type=int, default=1000, help="test images of claims 2 and 3 (1000)")
    add("--seed", type=int, default=0, help="decides all random numbers (0)")
    return parser


def _depths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers, such as 20,56,110"
        ) from None


if __name__ == "__main__":
    sys.exit(main())

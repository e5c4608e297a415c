"""`resnet-jax study`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.local_paths import local_path

DEFAULT_OUT = pathlib.Path("runs", "study")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add = parser.add_argument
    add("--data", default="digits", help="digits, cifar10, zip:PATH or folder:PATH (digits)")
    add("--out", default=DEFAULT_OUT, help=f"results folder ({DEFAULT_OUT})")
    add("--depths", type=_depths, default=(20, 56, 110), help="layers, 6n+2 each (20,56,110)")
    add("--epochs", type=int, help="epochs of every run (digits 8, CIFAR-10 164)")
    add("--batch-size", type=int, metavar="N", help="images per step (digits 64, CIFAR-10 128)")
    rates = "peak (digits 0.02, CIFAR-10 0.1)"
    add("--learning-rate", type=float, metavar="RATE", help=rates)
    add("--train-split", metavar="SPLIT", help="such as train[:5000] (all)")
    add("--test-split", metavar="SPLIT", help="such as test[:1000] (test)")
    add("--probe-images", type=int, default=1000, metavar="N", help="test images probed (1000)")
    add("--seed", type=int, default=0, help="seed of all random numbers (0)")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains plain and residual networks and measures the claims about them."""
    from resnet_jax.machine.cpu import keep_freed_memory, use_every_core
    from resnet_jax.study.plan import make_plan
    from resnet_jax.study.run import run_study

    del overrides
    out = local_path(flags.out)
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
    run_study(plan, out, say=lambda line: print(line, flush=True))
    print(f"summary  {out / 'summary.md'}\nnumbers  {out / 'results.json'}")
    return 0


def _depths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 20,56,110"
        ) from None


COMMAND = Command(
    name="study",
    summary="Test four claims about residual networks on a dataset.",
    usage="[--data=NAME] [--out=FOLDER] [flags]",
    epilog="Networks already trained in the folder are reused.\n\n"
    "example: resnet-jax study --data=zip:cifar10.zip --out=runs/study_cifar10",
    add_flags=add_flags,
    run=run,
)

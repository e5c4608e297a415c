"""`resnet-jax study`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.local_paths import local_path


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add = parser.add_argument
    budgets = ("minutes", "hours", "paper")
    usual = "minutes (digits), hours or paper"
    add("--budget", choices=budgets, default="minutes", metavar="NAME", help=usual)
    add("--data", metavar="NAME", help="CIFAR-10: cifar10, zip:PATH or folder:PATH")
    add("--out", help="results folder (runs/study_BUDGET)")
    add("--depths", type=_depths, help="layers, 6n+2 each (20,56,110; hours 20,56)")
    add("--epochs", type=int, help="epochs of every run (8, 40 or 164)")
    add("--batch-size", type=int, metavar="N", help="images per step (64, 128 or 128)")
    add("--learning-rate", type=float, metavar="RATE", help="peak (0.02, 0.1 or 0.1)")
    add("--train-split", metavar="SPLIT", help="such as train[:5000] (all)")
    add("--test-split", metavar="SPLIT", help="such as test[:1000] (test)")
    add("--probe-images", type=int, default=1000, metavar="N", help="test images probed (1000)")
    add("--seed", type=int, default=0, help="seed of all random numbers (0)")
    add("--seeds", type=int, metavar="N", help="seeds of two residual networks (1; hours 3)")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains plain and residual networks and measures the claims about them."""
    from rich.console import Console

    from resnet_jax.machine.compilation_cache import keep_compiled_code
    from resnet_jax.machine.cpu import keep_freed_memory, use_every_core
    from resnet_jax.machine.signals import RESUME_STATUS
    from resnet_jax.study.epochs import InterruptedStudyError
    from resnet_jax.study.plan import make_plan
    from resnet_jax.study.run import run_study

    del overrides
    out = local_path(flags.out or pathlib.Path("runs", f"study_{flags.budget}"))
    plan = make_plan(
        flags.budget,
        data=flags.data,
        epochs=flags.epochs,
        batch_size=flags.batch_size,
        learning_rate=flags.learning_rate,
        train_split=flags.train_split,
        test_split=flags.test_split,
        seed=flags.seed,
        seeds=flags.seeds,
        depths=flags.depths,
        probe_images=flags.probe_images,
    )
    recipe = plan.recipe
    keep_freed_memory()
    keep_compiled_code()
    use_every_core(recipe.batch_size, recipe.eval_batch_size, most=recipe.mesh.devices)
    try:
        run_study(plan, out, console=Console())
    except InterruptedStudyError:
        print(f"interrupted: all whole epochs are kept in {out}\nresume with the same command")
        return RESUME_STATUS
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
    summary="Test four claims about residual networks on images.",
    usage="[--budget=NAME] [--data=NAME] [--out=FOLDER] [flags]",
    epilog="The same command resumes a study, after its last whole epoch.\n\n"
    "example: resnet-jax study --budget=hours --data=zip:cifar10.zip",
    add_flags=add_flags,
    run=run,
)

"""`resnet-jax train`, and `train.py`."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from resnet_jax.buckets import AnyPath
from resnet_jax.cli import evaluate
from resnet_jax.cli.command import Command, guard, leave_at_once, new_parser
from resnet_jax.cli.hints import CONFIG
from resnet_jax.cli.model_flags import read_step
from resnet_jax.cli.seeds import read_seeds, train_seeds
from resnet_jax.local_paths import user_path

if TYPE_CHECKING:
    from resnet_jax.training.conclusion import Result
    from resnet_jax.training.recipe.config import TrainConfig

_RESUMES = "A run resumes by itself: repeat the command that started it"
_ADVICE = {
    "checkpoint": _RESUMES,
    "evaluate": "resnet-jax eval --model=RUN evaluates a run",
    "log-dir": "--workdir",
    "logdir": "--workdir",
    "out": "--workdir",
    "output": "--workdir",
    "output-dir": "--workdir",
    "recipe": "--config",
    "resume": _RESUMES,
    "save-dir": "--workdir",
}

CONFIG_NOTE = (
    "--config.FIELD=VALUE changes a field of the recipe, such as\n"
    "--config.optimizer.learning_rate=0.05; --config.FIELD=none clears it.\n"
)


def train(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `train.py`: trains, or with `--mode=eval` evaluates, and exits."""
    parser = new_parser("train.py", "Train or evaluate a residual network.", epilog=CONFIG_NOTE)
    parser.add_argument("--mode", choices=("train", "eval"), default="train", help="what to do")
    add_flags(parser)
    parser.add_argument("--split", help="split to evaluate (the recipe's test split)")
    parser.add_argument("--step", type=read_step, help="checkpoint to evaluate, or best (the last)")

    def choose(flags: argparse.Namespace) -> tuple[Command, argparse.ArgumentParser]:
        evaluates = flags.mode == "eval" and not flags.show
        return COMMAND._replace(run=_evaluate if evaluates else run), parser

    sys.exit(guard(parser, choose, arguments))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("--config", metavar="RECIPE[:ARGUMENT]", help="name or file (digits)")
    parser.add_argument("--workdir", help="folder of the run (runs/RECIPE)")
    parser.add_argument(
        "--show", action="store_true", help="print the recipe and where each value comes from"
    )
    parser.add_argument(
        "--extend", metavar="WAY", help="rate of added epochs: constant or cosine[:PEAK]"
    )
    parser.add_argument(
        "--profile", action="store_true", help="profile steps 11 to 15 of this call"
    )
    parser.add_argument(
        "--debug-nans", action="store_true", help="stop at the first NaN, name the operation"
    )
    parser.add_argument("--seeds", metavar="0,1,2", help="a run per seed; mean and spread")
    parser.add_argument("--track", metavar="NAME", action="append", help="wandb or mlflow")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="index of this process, from 0")
    parser.add_argument(
        "--start-timeout", type=int, default=300, help="seconds to wait for the others (300)"
    )


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Trains, or resumes; with `--show`, only prints what it would do."""
    import jax

    from resnet_jax.cli.show import show_recipe
    from resnet_jax.machine.compilation_cache import keep_compiled_code
    from resnet_jax.machine.cpu import keep_freed_memory, use_every_core
    from resnet_jax.machine.debugging import search_for_nans
    from resnet_jax.machine.processes import Processes, join
    from resnet_jax.machine.signals import RESUME_STATUS
    from resnet_jax.training.extension import read_extension
    from resnet_jax.training.hooks import open_trackers
    from resnet_jax.training.loop import train as run_recipe
    from resnet_jax.training.recipe.load import DEFAULT_RECIPE, load_recipe
    from resnet_jax.training.recipe.overrides import parse_overrides
    from resnet_jax.training.workdir.layout import Workdir
    from resnet_jax.training.workdir.stored import CheckpointError

    recipe = flags.config or DEFAULT_RECIPE
    config = parse_overrides(load_recipe(recipe), overrides)
    workdir = _workdir(flags, recipe)
    if flags.extend is not None:
        read_extension(flags.extend, begin=1)  # a mistake is found before anything starts
    if flags.show:
        words = {"recipe": recipe, "overrides": overrides, "extend": flags.extend}
        print("\n".join(show_recipe(config, files=Workdir(workdir), **words)))
        return 0
    seeds = read_seeds(flags.seeds) if flags.seeds else ()
    open_trackers(flags.track or ())  # so is this one
    if flags.debug_nans:
        search_for_nans()
    keep_freed_memory()
    keep_compiled_code()
    join(Processes(flags.coordinator, flags.processes, flags.process, flags.start_timeout))
    step_images = config.batch_size // config.accumulation
    use_every_core(step_images, config.eval_batch_size, most=config.mesh.devices)

    def train_one(config: TrainConfig, workdir: AnyPath) -> Result:
        hooks = open_trackers(flags.track or ())
        return run_recipe(config, workdir, extend=flags.extend, hooks=hooks, profile=flags.profile)

    try:
        if seeds:
            extends = flags.extend is not None
            result = train_seeds(
                config, workdir, seeds, train=train_one, tell=_tell, extends=extends
            )
        else:
            result = train_one(config, workdir)
    except (Exception, KeyboardInterrupt) as error:
        # A normal exit waits for the other processes, and for the threads of a failed save.
        if jax.process_count() > 1 or isinstance(error, CheckpointError):
            leave_at_once(error, debug=getattr(flags, "debug", False))
        raise
    return RESUME_STATUS if result.status == "interrupted" else 0


def _tell(line: str) -> None:
    """Prints a line, in the first process only."""
    import jax

    if jax.process_index() == 0:
        print(line, flush=True)


def _evaluate(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    from resnet_jax.training.recipe.load import DEFAULT_RECIPE

    parser = new_parser("train.py --mode=eval", evaluate.COMMAND.summary)
    evaluate.add_flags(parser)
    workdir = _workdir(flags, flags.config or DEFAULT_RECIPE)
    words = {"workdir": workdir, "split": flags.split, "step": flags.step}
    chosen = [f"--{name}={value}" for name, value in words.items() if value is not None]
    return evaluate.run(parser.parse_args(chosen), overrides)


def _workdir(flags: argparse.Namespace, recipe: str) -> AnyPath:
    """Names the folder of a run: `runs/cifar10_fast` for the recipe `configs/cifar10.py:fast`."""
    if flags.workdir is not None:
        return user_path(flags.workdir)
    name, _, argument = recipe.partition(":")
    return pathlib.Path("runs", "_".join(filter(None, (pathlib.Path(name).stem, argument))))


COMMAND = Command(
    name="train",
    summary="Train a network, or resume a run.",
    usage="[--config=RECIPE] [--workdir=RUN] [--config.FIELD=VALUE]",
    epilog=CONFIG_NOTE + "\nexample: resnet-jax train --config=digits --config.epochs=5",
    add_flags=add_flags,
    run=run,
    overrides=(CONFIG,),
    advice=_ADVICE,
    weights_flag="--config.finetune.weights=PATH",
)

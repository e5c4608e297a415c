"""The command line: parse, call, print.

A new sub-command is one function that adds its flags, one that runs, and a line in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from resnet_jax.errors import ConfigError, nearest

USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
_OVERRIDE = "--config."


class _Parser(argparse.ArgumentParser):
    """Reports what is wrong in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; {self.prog} --help lists the flags")


class Command(NamedTuple):
    """A sub-command of `resnet-jax`.

    Attributes:
        name: How it is called.
        summary: One line for the help.
        add_flags: Declares its flags.
        run: Does it with the parsed flags and the words `--config.FIELD=VALUE`; returns the exit
            status.
    """

    name: str
    summary: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Sequence[str]], int]


def train(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `train.py`: trains, or with `--mode=eval` evaluates, and exits."""
    parser = _new_parser("train.py", "Train or evaluate a residual network.")
    parser.add_argument("--mode", choices=("train", "eval"), default="train", help="what to do")
    _add_train_flags(parser)
    _add_eval_choices(parser)

    def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
        return (_run_eval if flags.mode == "eval" else _run_train)(flags, overrides)

    sys.exit(_guard(parser, lambda _: run, arguments))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `resnet-jax COMMAND` and exits."""
    parser = _new_parser("resnet-jax", "Deep residual networks in JAX and Flax.")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            description=command.summary,
            allow_abbrev=False,
            epilog=parser.epilog,
        )
        _add_debug(sub)
        command.add_flags(sub)
    by_name = {command.name: command.run for command in COMMANDS}
    sys.exit(_guard(parser, lambda flags: by_name[flags.command], arguments))


def _guard(
    parser: argparse.ArgumentParser,
    choose: Callable[[argparse.Namespace], Callable[[argparse.Namespace, Sequence[str]], int]],
    arguments: Sequence[str] | None,
) -> int:
    """Parses and runs; turns what the user can mend into one line on the standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        flags, rest = parser.parse_known_args(words)
        _check_overrides(rest, parser)
        return choose(flags)(flags, rest)
    except (ValueError, OSError) as error:
        if "--debug" in words or not _is_for_the_user(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return USER_ERROR_STATUS
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS


def _is_for_the_user(error: Exception) -> bool:
    """Tells an error that this package raised on purpose from a fault inside a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = str(pathlib.Path(__file__).parent)
    raised_here = trace is not None and trace.tb_frame.f_code.co_filename.startswith(package)
    return isinstance(error, OSError) or raised_here


def _check_overrides(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    for word in words:
        if not word.startswith(_OVERRIDE):
            known = [option for action in parser._actions for option in action.option_strings]
            hint = nearest(word.partition("=")[0], known)
            raise ConfigError(f"unknown argument {word!r}.{hint} Fields are {_OVERRIDE}FIELD=VALUE")


def _new_parser(program: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description=description,
        allow_abbrev=False,
        epilog="--config.FIELD=VALUE changes a field of the recipe, such as "
        "--config.optimizer.learning_rate=0.05; --config.FIELD=none empties it.",
    )
    _add_debug(parser)
    return parser


def _add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks"
    )


def _add_train_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE[:ARGUMENT]", help="recipe (configs/digits.py)")
    parser.add_argument("--workdir", type=pathlib.Path, help="folder of the run (runs/RECIPE)")


def _add_eval_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=pathlib.Path, help="folder of the run (runs/digits)")
    _add_eval_choices(parser)


def _add_eval_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--split", help="split to evaluate (the recipe's test split)")
    parser.add_argument("--step", type=int, help="checkpoint to evaluate (the last)")


def _workdir(flags: argparse.Namespace, recipe: str) -> pathlib.Path:
    """Names the folder of a run: `runs/cifar10_fast` for the recipe `configs/cifar10.py:fast`."""
    if flags.workdir is not None:
        return pathlib.Path(flags.workdir)
    name, _, argument = recipe.partition(":")
    return pathlib.Path("runs", "_".join(filter(None, (pathlib.Path(name).stem, argument))))


def _run_train(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    from resnet_jax.training.interruption import RESUME_STATUS
    from resnet_jax.training.loop import train as run
    from resnet_jax.training.recipes import DEFAULT_RECIPE, load_recipe
    from resnet_jax.training.validation import parse_overrides

    recipe = flags.config or DEFAULT_RECIPE
    config = parse_overrides(load_recipe(recipe), overrides)
    result = run(config, _workdir(flags, recipe))
    return RESUME_STATUS if result.status == "interrupted" else 0


def _run_eval(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    from resnet_jax.inference.evaluate import evaluate_run
    from resnet_jax.training.recipes import DEFAULT_RECIPE
    from resnet_jax.training.validation import parse_overrides
    from resnet_jax.training.workdir import Workdir

    files = Workdir(_workdir(flags, getattr(flags, "config", None) or DEFAULT_RECIPE))
    config = parse_overrides(files.read_config(), overrides)
    step, split, result = evaluate_run(
        files.root, split=flags.split, step=flags.step, config=config
    )
    print(
        f"{split} accuracy {result.accuracy:.2%} ({result.top1} of {result.count} images)  "
        f"top-5 {result.top5_accuracy:.2%}  loss {result.loss:.4f}  "
        f"checkpoint {files.checkpoints / str(step)}"
    )
    return 0


COMMANDS = (
    Command("train", "Train a network, or resume a run.", _add_train_flags, _run_train),
    Command("eval", "Evaluate a run's checkpoint.", _add_eval_flags, _run_eval),
)

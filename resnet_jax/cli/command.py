"""What commands share: a parser with one-line errors, checked flags, and a guard."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import logging
import os
import pathlib
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple, NoReturn

from resnet_jax import __version__
from resnet_jax.cli.hints import CONFIG, INPUTS, check_unknown
from resnet_jax.errors import ConfigError

FAULT_STATUS = 1
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141

Run = Callable[[argparse.Namespace, Sequence[str]], int]


class Parser(argparse.ArgumentParser):
    """Reports errors in one line, as the rest of the command line does."""

    def error(self, message: str) -> NoReturn:
        """Raises the error, instead of printing the usage and exiting."""
        raise ConfigError(f"{message}; {self.prog} --help lists the flags")


class PrintVersion(argparse.Action):
    """Names this version, and those of the libraries that decide what it computes, and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        """Prints the line when the flag is met."""
        libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "flax"))
        print(f"resnet-jax {__version__} ({libraries}, Python {platform.python_version()})")
        parser.exit()


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps a flag and its help on one line, and the line breaks of the epilog."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)
        self._action_max_length = 13  # argparse forgets that the names of commands are indented


class Command(NamedTuple):
    """A sub-command of `resnet-jax`.

    Attributes:
        name: The word that selects it.
        summary: One line for the help.
        usage: What follows the name in the first line of the help.
        epilog: The end of the help: notes and an example.
        add_flags: Declares its flags.
        run: Runs it with the parsed flags and the words that start with one of `overrides`; returns
            the exit status.
        overrides: The prefixes of the words such as `--config.FIELD=VALUE` that it takes.
        advice: What to do instead of a flag that other programs have, by its name.
        weights_flag: How it takes the path of a weights file.
    """

    name: str
    summary: str
    usage: str
    epilog: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Run
    overrides: tuple[str, ...] = ()
    advice: Mapping[str, str] = {}
    weights_flag: str = "--weights=PATH"


def new_parser(
    program: str, description: str, *, epilog: str = "", usage: str | None = None
) -> argparse.ArgumentParser:
    """Makes the parser of a program.

    Args:
        program: Its name.
        description: What it does.
        epilog: The end of the help.
        usage: The first line of the help, which then has no list of the general flags; None lists
            them.
    """
    parser = Parser(
        prog=program,
        usage=usage,
        description=description,
        allow_abbrev=False,
        epilog=epilog,
        formatter_class=HelpFormatter,
        add_help=False,
    )
    shown = usage is None
    add_debug(parser, shown=shown)
    add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
    add("-h", "--help", action="help", help="show this" if shown else argparse.SUPPRESS)
    version_help = "print the version" if shown else argparse.SUPPRESS
    add("--version", action=PrintVersion, nargs=0, help=version_help)
    return parser


def add_debug(parser: argparse.ArgumentParser, *, shown: bool = True) -> None:
    """Declares `--debug`, before or after the name of a command."""
    parser.add_argument(
        "--debug",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show tracebacks" if shown else argparse.SUPPRESS,
    )


def guard(
    parser: argparse.ArgumentParser,
    choose: Callable[[argparse.Namespace], tuple[Command, argparse.ArgumentParser]],
    arguments: Sequence[str] | None,
) -> int:
    """Parses and runs; prints errors that the user can fix as one line on standard error.

    Args:
        parser: Parses the words.
        choose: Maps the parsed flags to the command to run and the parser with its flags.
        arguments: The words; None for those of the process.

    Returns:
        The exit status.
    """
    _print_every_name()
    words = _with_hyphens(sys.argv[1:] if arguments is None else arguments)
    weights_flag = Command.weights_flag
    try:
        flags, rest = parser.parse_known_args(words)
        command, its_parser = choose(flags)
        weights_flag = command.weights_flag
        check_unknown(rest, its_parser, overrides=command.overrides, advice=command.advice)
        with _notes():
            return command.run(flags, rest)
    except BrokenPipeError:
        # The reader of the output has gone. Python's flush at exit must not fail on it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    except (ValueError, OSError, KeyboardInterrupt) as error:
        status = _explain(_with_flag(error, weights_flag), debug="--debug" in words)
        if status == FAULT_STATUS:
            raise
        return status


def leave_at_once(error: BaseException, *, debug: bool) -> NoReturn:
    """Ends the process after an error, without the normal exit, which would wait for minutes.

    Args:
        error: What ended it.
        debug: Whether `--debug` was given.
    """
    status = _explain(error, debug=debug)
    if status == FAULT_STATUS:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def say_error(message: str) -> None:
    """Prints one line to standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Prints what the library logs, such as a choice that it made, on standard error."""
    logger = logging.getLogger("resnet_jax")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # libraries give the root logger a handler, which would say it again
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _explain(error: BaseException, *, debug: bool) -> int:
    """Returns the exit status, and prints one line if the user can fix the error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED_STATUS
    if debug or not _is_for_the_user(error):
        return FAULT_STATUS
    say_error(str(error))
    return USER_ERROR_STATUS


def _with_flag(error: BaseException, flag: str) -> BaseException:
    """Lets the error about weights that cannot be had name the flag of this command."""
    from resnet_jax.weights.errors import UnavailableWeightsError

    if not isinstance(error, UnavailableWeightsError):
        return error
    return error.for_flag(flag).with_traceback(error.__traceback__)


def _is_for_the_user(error: BaseException) -> bool:
    """Whether an error was raised on purpose, here or in a recipe, and not by a bug."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    package = str(pathlib.Path(__file__).parents[1])
    raised_here = trace is not None and trace.tb_frame.f_code.co_filename.startswith(package)
    return isinstance(error, OSError | ConfigError) or (
        isinstance(error, ValueError) and raised_here
    )


def _print_every_name() -> None:
    """Escapes what the screen's encoding lacks, such as the bytes of a name that is not UTF-8."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _with_hyphens(words: Sequence[str]) -> list[str]:
    """Spells every flag with hyphens: `--class_names` is `--class-names`."""
    spelled = []
    for word in words:
        name, equals, value = word.partition("=")
        is_flag = name.startswith("--") and not name.startswith((CONFIG, INPUTS))
        spelled.append(f"{name.replace('_', '-')}{equals}{value}" if is_flag else word)
    return spelled

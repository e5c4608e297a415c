"""What commands share: a parser with one-line errors, checked flags, and a guard."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, NoReturn

from resnet_jax.errors import ConfigError, nearest

FAULT_STATUS = 1
USER_ERROR_STATUS = 2
INTERRUPTED_STATUS = 130
BROKEN_PIPE_STATUS = 141
CONFIG = "--config."
INPUTS = "--inputs."

Run = Callable[[argparse.Namespace, Sequence[str]], int]


class Parser(argparse.ArgumentParser):
    """Reports errors in one line, as the rest of the command line does."""

    def error(self, message: str) -> NoReturn:
        """Raises the error, instead of printing the usage and exiting."""
        raise ConfigError(f"{message}; {self.prog} --help lists the flags")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps a flag and its help on one line, and the line breaks of the epilog."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


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
    """

    name: str
    summary: str
    usage: str
    epilog: str
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Run
    overrides: tuple[str, ...] = ()


def new_parser(program: str, description: str, *, epilog: str = "") -> argparse.ArgumentParser:
    """Makes the parser of a program."""
    parser = Parser(
        prog=program,
        description=description,
        allow_abbrev=False,
        epilog=epilog,
        formatter_class=HelpFormatter,
    )
    add_debug(parser)
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
    choose: Callable[[argparse.Namespace], tuple[Run, tuple[str, ...]]],
    arguments: Sequence[str] | None,
) -> int:
    """Parses and runs; prints errors that the user can fix as one line on standard error.

    Args:
        parser: Parses the words.
        choose: Maps the parsed flags to the function to run and the overrides that it takes.
        arguments: The words; None for those of the process.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        flags, rest = parser.parse_known_args(words)
        run, overrides = choose(flags)
        _check_overrides(rest, overrides, parser)
        with _notes():
            return run(flags, rest)
    except BrokenPipeError:
        # The reader of the output has gone. Python's flush at exit must not fail on it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE_STATUS
    except (ValueError, OSError, KeyboardInterrupt) as error:
        status = _explain(error, debug="--debug" in words)
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
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _explain(error: BaseException, *, debug: bool) -> int:
    """Returns the exit status, and prints one line if the user can fix the error."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED_STATUS
    if debug or not _is_for_the_user(error):
        return FAULT_STATUS
    say_error(str(error))
    return USER_ERROR_STATUS


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


def _check_overrides(
    words: Sequence[str], overrides: tuple[str, ...], parser: argparse.ArgumentParser
) -> None:
    for word in words:
        if not word.startswith(overrides or "\0"):
            hint = nearest(word.partition("=")[0], _options(parser))
            fields = " and ".join(f"{beginning}FIELD=VALUE" for beginning in overrides)
            remedy = f" Fields are {fields}" if fields else ""
            raise ConfigError(f"unknown argument {word!r}.{hint}{remedy}")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Lists the flags of a parser and of its commands."""
    found: list[str] = []
    for action in parser._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _options(sub)
    return found

"""The command line: parse, call, print. Each command is a module and a line in `COMMANDS`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from resnet_jax.cli import (
    compilation,
    convert,
    evaluate,
    explain,
    export,
    fields,
    models,
    predict,
    prepare,
    report,
    serve,
    study,
    training,
)
from resnet_jax.cli.command import Command, add_debug, guard, new_parser
from resnet_jax.cli.training import train

__all__ = ["COMMANDS", "main", "train"]

COMMANDS = (
    training.COMMAND,
    compilation.COMMAND,
    evaluate.COMMAND,
    predict.COMMAND,
    explain.COMMAND,
    export.COMMAND,
    models.COMMAND,
    fields.COMMAND,
    convert.COMMAND,
    prepare.COMMAND,
    report.COMMAND,
    serve.COMMAND,
    study.COMMAND,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs `resnet-jax COMMAND` and exits."""
    parser = new_parser(
        "resnet-jax",
        "Deep residual networks in JAX and Flax. COMMAND --help lists a command's flags.",
        usage="resnet-jax [--version] [--debug] COMMAND ...",
        epilog="example: resnet-jax train",
    )
    by_name: dict[str, tuple[Command, argparse.ArgumentParser]] = {}
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", required=True, prog="resnet-jax"
    )
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name,
            help=command.summary,
            usage=f"resnet-jax {command.name} {command.usage}",
            description=command.summary,
            allow_abbrev=False,
            epilog=command.epilog,
            formatter_class=parser.formatter_class,
        )
        add_debug(sub, shown=False)
        command.add_flags(sub)
        by_name[command.name] = command, sub
    sys.exit(guard(parser, lambda flags: by_name[flags.command], arguments))

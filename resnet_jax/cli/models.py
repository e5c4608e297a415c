"""`resnet-jax models`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.plain_json import json_text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("patterns", metavar="PATTERN", nargs="*", help="'resnet*d' (*)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Prints the table of networks."""
    del overrides
    from resnet_jax.zoo import describe, list_models

    for pattern in flags.patterns:
        if not list_models(pattern):
            hint = nearest(pattern, list_models())
            raise ConfigError(
                f"no network matches {pattern!r}.{hint} A pattern looks like 'resnet*d'"
            )
    names = list_models(flags.patterns)
    width = max(len(name) for name in names)
    if not flags.json:
        print(f"{'name':{width}}  {'parameters':>11}  {'GFLOPs':>7}  {'input':>5}  paper")
    for name in names:
        row = describe(name)
        if flags.json:
            print(json_text(dataclasses.asdict(row)))
        else:
            print(
                f"{name:{width}}  {row.parameters:>11,}  {row.gflops:>7.2f}  {row.size:>5}  "
                f"{row.paper}"
            )
    return 0


COMMAND = Command(
    name="models",
    summary="List the networks and their cost.",
    usage="[PATTERN ...] [--json]",
    epilog="example: resnet-jax models 'resnet*d'",
    add_flags=add_flags,
    run=run,
)

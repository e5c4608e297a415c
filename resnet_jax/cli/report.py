"""`resnet-jax report`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from resnet_jax.cli.command import Command

DEFAULT_OUT = "report.html"
DEFAULT_MISTAKES = 24


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a run")
    parser.add_argument(
        "--out", metavar="FILE", default=DEFAULT_OUT, help=f"the page ({DEFAULT_OUT})"
    )
    parser.add_argument("--split", help="split to search for mistakes (the test split)")
    parser.add_argument(
        "--mistakes",
        type=int,
        metavar="N",
        default=DEFAULT_MISTAKES,
        help=f"images of mistakes per run ({DEFAULT_MISTAKES})",
    )
    parser.add_argument(
        "--no-eval", action="store_true", help="do not evaluate: no confusions, no mistakes"
    )


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Writes a page about runs."""
    from resnet_jax.report import write_report

    del overrides
    written = write_report(
        flags.runs,
        flags.out,
        split=flags.split,
        mistakes=flags.mistakes,
        evaluate=not flags.no_eval,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(written)
    return 0


COMMAND = Command(
    name="report",
    summary="Write a page about runs: curves, confusions, mistakes, recipes.",
    usage="RUN... [--out=FILE] [flags]",
    epilog="The page is one HTML file that works offline.\n\n"
    "example: resnet-jax report runs/digits runs/digits_wide --out=digits.html",
    add_flags=add_flags,
    run=run,
)

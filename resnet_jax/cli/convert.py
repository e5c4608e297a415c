"""`resnet-jax convert`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.cli.model_flags import read_class_names


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("source", metavar="IN", help="weights to read")
    parser.add_argument("destination", metavar="OUT", help="*.safetensors to write")
    parser.add_argument("--name", help="network that PyTorch's weights belong to")
    parser.add_argument("--class-names", metavar="FILE", help="names of the outputs, one per line")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Converts a file."""
    del overrides
    from resnet_jax.weights import convert_file

    convert_file(
        flags.source,
        flags.destination,
        name=flags.name,
        class_names=read_class_names(flags),
    )
    print(f"{flags.destination} written")
    return 0


COMMAND = Command(
    name="convert",
    summary="Convert weights from or to PyTorch.",
    usage="IN OUT [--name=NAME] [--class-names=FILE]",
    epilog="example: resnet-jax convert resnet18.pth resnet18.safetensors --name=resnet18",
    add_flags=add_flags,
    run=run,
)

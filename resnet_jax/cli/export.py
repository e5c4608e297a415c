"""`resnet-jax export`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from resnet_jax.cli.command import Command
from resnet_jax.cli.hints import INPUTS
from resnet_jax.cli.model_flags import INPUTS_NOTE, add_model_flags, open_from_flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add_model_flags(parser, positional=True)
    parser.add_argument("out", metavar="OUT", help="*.stablehlo, *.onnx or *.safetensors")
    parser.add_argument("--fold", action="store_true", help="fold BatchNorm into convolutions")
    parser.add_argument("--from-pixels", action="store_true", help="take uint8 pixels")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Writes a network for other programs."""
    from resnet_jax.inference.export import export

    trained = open_from_flags(flags, overrides)
    written = export(trained, flags.out, fold=flags.fold, from_pixels=flags.from_pixels)
    details = f", described in {written.description}" if written.description else ""
    print(f"{written.path}  {written.format}, {written.size / 1e6:.1f} MB{details}")
    return 0


COMMAND = Command(
    name="export",
    summary="Write a network as StableHLO, ONNX or for PyTorch.",
    usage="MODEL OUT [--fold] [--from-pixels] [flags]",
    epilog=INPUTS_NOTE + "\nexample: resnet-jax export runs/digits digits.onnx --from-pixels",
    add_flags=add_flags,
    run=run,
    overrides=(INPUTS,),
)

"""`resnet-jax explain`."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from resnet_jax.buckets import AnyPath
from resnet_jax.cli.command import Command, say_error
from resnet_jax.cli.hints import INPUTS
from resnet_jax.cli.model_flags import INPUTS_NOTE, add_model_flags, open_from_flags
from resnet_jax.cli.predict import FAILED_STATUS, expand
from resnet_jax.local_paths import user_path
from resnet_jax.whole_files import write_bytes


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image, folder, or - to read names from stdin"
    )
    add_model_flags(parser)
    parser.add_argument(
        "--stage", type=int, metavar="N", default=-1, help="stage, from 1 (-1, the last)"
    )
    parser.add_argument(
        "--class", dest="kind", metavar="CLASS", help="name or number (most likely)"
    )
    parser.add_argument("--out", metavar="DIR", default=".", help="for IMAGE.cam.png (.)")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Writes an overlay for each image; a bad one prints one line on standard error."""
    from resnet_jax.inference.explain import Explainer, overlay, png
    from resnet_jax.inference.image_files import find_files, read_ahead

    trained = open_from_flags(flags, overrides)
    explain = Explainer(trained, stage=flags.stage)
    index = None if flags.kind is None else trained.class_index(flags.kind)
    folder = user_path(flags.out)
    folder.mkdir(parents=True, exist_ok=True)
    status, taken = 0, set[AnyPath]()
    for file in read_ahead(find_files(expand(flags.images)), trained.inputs, ahead=8):
        if file.image is None:
            say_error(f"{file.path}: {file.problem}")
            status = FAILED_STATUS
            continue
        cam, explained, probabilities = explain(file.image, index)
        target = _free(folder, pathlib.Path(file.path).stem, taken)
        write_bytes(target, png(overlay(file.image, cam)))
        name, share = trained.class_name(explained), probabilities[explained]
        print(f"{file.path}  {name} {share:.1%}  {target}", flush=True)
    return status


def _free(folder: AnyPath, stem: str, taken: set[AnyPath]) -> AnyPath:
    """Names a file that this call has not written yet: two images may have one name."""
    target, number = folder / f"{stem}.cam.png", 1
    while target in taken:
        number += 1
        target = folder / f"{stem}-{number}.cam.png"
    taken.add(target)
    return target


COMMAND = Command(
    name="explain",
    summary="Show where in an image a network looks (Grad-CAM).",
    usage="IMAGE... [--model=MODEL] [--class=CLASS] [flags]",
    epilog=INPUTS_NOTE + "\nexample: resnet-jax explain cat.jpg --model=runs/pets --class=cat",
    add_flags=add_flags,
    run=run,
    overrides=(INPUTS,),
)

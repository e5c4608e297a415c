"""`resnet-jax predict`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence

from resnet_jax.cli.command import Command, say_error
from resnet_jax.cli.hints import INPUTS
from resnet_jax.cli.model_flags import INPUTS_NOTE, add_model_flags, note, open_from_flags
from resnet_jax.data.image_names import no_images

FAILED_STATUS = 1


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image, folder, or - to read names from stdin"
    )
    add_model_flags(parser)
    parser.add_argument("--top", type=int, metavar="N", default=5, help="classes per image (5)")
    parser.add_argument("--batch-size", type=int, metavar="N", default=32, help="images per step")
    parser.add_argument("--tta", choices=("flip",), help="average over mirror images")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Classifies images as they come; a bad one prints one line on standard error."""
    from resnet_jax.inference.classifier import Classifier
    from resnet_jax.inference.image_files import find_files
    from resnet_jax.inference.predict import predict
    from resnet_jax.machine.cpu import use_every_core

    use_every_core(flags.batch_size)
    trained = open_from_flags(flags, overrides)
    classifier = Classifier(trained, batch_size=flags.batch_size, tta=flags.tta)
    status = 0
    skipped: list[str] = []
    files = find_files(expand(flags.images), skipped=skipped)
    for prediction in predict(classifier, files, top=flags.top):
        if prediction.problem:
            say_error(f"{prediction.path}: {prediction.problem}")
            status = FAILED_STATUS
        else:
            print(prediction.to_json() if flags.json else prediction.to_text(), flush=True)
    if skipped:
        note(f"skipped {no_images(len(skipped))}, {skipped[0]} first")
    return status


def expand(names: Iterable[str]) -> Iterator[str]:
    """Replaces `-` by the lines of standard input, as they come, without empty ones."""
    for name in names:
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield name


COMMAND = Command(
    name="predict",
    summary="Classify images.",
    usage="IMAGE... [--model=MODEL] [flags]",
    epilog=INPUTS_NOTE + "\nexample: resnet-jax predict photos/ --model=runs/pets --top=3",
    add_flags=add_flags,
    run=run,
    overrides=(INPUTS,),
)

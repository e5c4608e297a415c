"""The flags that select a trained network."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from resnet_jax.cli.hints import INPUTS
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_path

if TYPE_CHECKING:
    from resnet_jax.inference.trained import Trained

DEFAULT_MODEL = "runs/digits"
MODEL_HELP = "run, saved file or network name"
INPUTS_NOTE = "--inputs.FIELD=VALUE: size, crop_fraction, interpolation, mean, std, multi_label\n"


def add_model_flags(parser: argparse.ArgumentParser, *, positional: bool = False) -> None:
    """Declares the flags that select a network.

    Args:
        parser: The parser of the command.
        positional: Take the network as the next word, not as `--model`.
    """
    if positional:
        parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    else:
        parser.add_argument("--model", metavar="MODEL", help=f"{MODEL_HELP} ({DEFAULT_MODEL})")
    parser.add_argument("--weights", metavar="FILE", help="weights for a named network")
    parser.add_argument(
        "--step", type=read_step, metavar="N", help="checkpoint of a run, or best (the last)"
    )
    parser.add_argument("--class-names", metavar="FILE", help="names of the outputs, one per line")


def open_from_flags(flags: argparse.Namespace, overrides: Sequence[str]) -> Trained:
    """Opens the network that the flags select.

    Raises:
        ConfigError: It cannot be opened, the class names are not text, or an override is wrong.
        OSError: The file of class names cannot be read.
    """
    from resnet_jax.inference.trained import open_trained

    trained = open_trained(
        flags.model or DEFAULT_MODEL,
        weights=flags.weights,
        step=flags.step,
        class_names=read_class_names(flags),
    )
    note(*trained.remarks)
    return with_inputs(trained, overrides)


def read_step(text: str) -> int | Literal["best"]:
    """Reads the number of a checkpoint, or `best`."""
    if text == "best":
        return "best"
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a checkpoint or best")
    return int(text)


def note(*remarks: str) -> None:
    """Prints lines for the user, apart from a command's result."""
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)


def read_class_names(flags: argparse.Namespace) -> list[str] | None:
    """Reads the file of class names, if given: one name per line, without empty lines."""
    if flags.class_names is None:
        return None
    try:
        text = user_path(flags.class_names).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(
            f"{flags.class_names} is not UTF-8 text: give a file with one name per line"
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def with_inputs(trained: Trained, overrides: Sequence[str]) -> Trained:
    """Applies the words `--inputs.FIELD=VALUE`.

    Raises:
        ConfigError: A field is unknown or its value cannot be used.
    """
    from resnet_jax.network_inputs import inputs_from_plain
    from resnet_jax.training.recipe.fields import hints_of
    from resnet_jax.training.recipe.values import read_value

    kinds = hints_of(type(trained.inputs))
    values = trained.inputs.preprocessing()
    for word in overrides:
        if word.startswith(INPUTS):
            name, equals, text = word.removeprefix(INPUTS).partition("=")
            if not equals:
                raise ConfigError(f"{word!r} is not an override: write {INPUTS}FIELD=VALUE")
            if name == "channels":
                raise ConfigError(
                    f"{word} cannot be set: the network takes {trained.inputs.channels} channels"
                )
            # Unknown names are refused where the record is made.
            values[name] = read_value(text, kinds[name], (name,)) if name in kinds else text
    inputs = inputs_from_plain(values, channels=trained.inputs.channels)
    return dataclasses.replace(trained, inputs=inputs.named(trained.class_names))

"""`resnet-jax eval`."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_jax.buckets import AnyPath
from resnet_jax.cli.command import Command
from resnet_jax.cli.hints import CONFIG, INPUTS
from resnet_jax.cli.model_flags import (
    DEFAULT_MODEL,
    INPUTS_NOTE,
    add_model_flags,
    note,
    open_from_flags,
    read_class_names,
    with_inputs,
)
from resnet_jax.data.source_names import FORMS
from resnet_jax.errors import ConfigError, noun_for
from resnet_jax.local_paths import user_path

if TYPE_CHECKING:
    from resnet_jax.inference.measures import Measures, MultiLabelMeasures
    from resnet_jax.inference.trained import Trained
    from resnet_jax.training.recipe.config import TrainConfig

DEFAULT_BATCH = 256
_WORST = 5
_MOST_CONFUSED = 1000


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    add_model_flags(parser)
    # The older name of --model, for a run.
    parser.add_argument("--workdir", help=argparse.SUPPRESS)
    forms = ", ".join(FORMS)
    parser.add_argument("--data", metavar="NAME", help=f"digits, {forms}, or TFDS")
    parser.add_argument("--data-dir", metavar="DIR", help="folder of prepared datasets")
    parser.add_argument("--split", help="split to evaluate (test)")
    parser.add_argument("--tta", choices=("flip",), help="average over mirror images")
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help=f"images per step ({DEFAULT_BATCH})"
    )
    parser.add_argument(
        "--by-position", action="store_true", help="match classes by position, not by name"
    )
    parser.add_argument("--skip-bad", action="store_true", help="skip images that cannot be read")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Evaluates a network."""
    from resnet_jax.data.config import DataConfig
    from resnet_jax.data.sources.splits import MissingSplitError
    from resnet_jax.inference.evaluate import evaluate_trained
    from resnet_jax.inference.measures import ConfusionCounter, Measures
    from resnet_jax.machine.cpu import use_every_core

    use_every_core(flags.batch_size or DEFAULT_BATCH)
    run_folder = _run_folder(flags)
    config = None
    if run_folder is None:
        _refuse_recipe_fields(overrides)
        trained = open_from_flags(flags, overrides)
    else:
        trained, config = _open_run(run_folder, flags, overrides)
    if flags.data is not None:
        data = DataConfig(name=flags.data, data_dir=flags.data_dir)
    elif config is not None:
        data = config.data
    else:
        raise ConfigError(f"{trained.origin} comes without a dataset: choose one with --data=NAME")
    if flags.skip_bad:
        data = dataclasses.replace(data, on_error="skip")
    usual_batch = config.eval_batch_size if config else DEFAULT_BATCH
    # A matrix of more classes would be millions of numbers.
    counts = flags.json and trained.num_classes <= _MOST_CONFUSED and not trained.inputs.multi_label
    confusion = ConfusionCounter(trained.num_classes) if counts else None
    evaluate = functools.partial(
        evaluate_trained,
        trained,
        data,
        batch_size=usual_batch if flags.batch_size is None else flags.batch_size,
        tta=flags.tta,
        workdir=run_folder if isinstance(run_folder, pathlib.Path) else ".",
        by_position=flags.by_position,
        watch=confusion,
    )
    try:
        measures = evaluate(flags.split or data.test_split)
    except MissingSplitError:
        if flags.split or not data.validation_split or data.test_split != DataConfig.test_split:
            raise
        measures = evaluate(data.validation_split)
        note(f"{data.name} has no split test: this is {data.validation_split}")
    if confusion is not None and isinstance(measures, Measures):
        measures = dataclasses.replace(measures, confusion=confusion.rows())
    if trained.class_names is None or flags.by_position:
        note("labels were matched to outputs by position, not by name")
    print(measures.to_json() if flags.json else _text(measures))
    return 0


def _run_folder(flags: argparse.Namespace) -> AnyPath | None:
    """Returns the folder of the run to evaluate, or None if the model is not a run."""
    named = flags.workdir or flags.model
    meant = flags.workdir is not None or named is None or user_path(named).is_dir()
    return user_path(named or DEFAULT_MODEL) if meant and flags.weights is None else None


def _open_run(
    folder: AnyPath, flags: argparse.Namespace, overrides: Sequence[str]
) -> tuple[Trained, TrainConfig]:
    from resnet_jax.inference.trained import open_run, with_class_names
    from resnet_jax.training.recipe.overrides import parse_overrides
    from resnet_jax.training.workdir.layout import Workdir

    fields = [word for word in overrides if word.startswith(CONFIG)]
    config = parse_overrides(Workdir(folder).read_config(), fields)
    trained = open_run(folder, step=flags.step, config=config)
    trained = with_class_names(trained, read_class_names(flags))
    note(*trained.remarks)
    return with_inputs(trained, overrides), config


def _refuse_recipe_fields(overrides: Sequence[str]) -> None:
    for word in overrides:
        if word.startswith(CONFIG):
            raise ConfigError(f"{word} changes the recipe of a run, but the model is not a run")


def _text(measures: Measures | MultiLabelMeasures) -> str:
    """Formats a result as a few lines."""
    from resnet_jax.inference.measures import MultiLabelMeasures

    if isinstance(measures, MultiLabelMeasures):
        lines = _lines_of_several(measures)
    else:
        lines = _lines_of_one(measures)
    step = f", checkpoint {measures.step}" if measures.step is not None else ""
    return "\n".join([*lines, f"model {measures.model}{step}; data {measures.data}"])


def _counted(measures: Measures | MultiLabelMeasures) -> str:
    images = noun_for(measures.expected, "image")
    return f"counted {measures.count} of {measures.expected} {images}"


def _lines_of_one(measures: Measures) -> list[str]:
    lines = [
        f"{measures.split} accuracy {measures.accuracy:.2%} "
        f"({measures.top1} correct; {_counted(measures)})",
        f"top-5 {measures.top5_accuracy:.2%}  loss {measures.loss:.4f}  "
        f"calibration error {measures.calibration_error:.4f}",
    ]
    seen = [entry for entry in measures.classes if entry.count]
    worst = sorted(seen, key=lambda entry: (entry.top1 / entry.count, entry.name))[:_WORST]
    names = (f"{entry.name} {entry.top1 / entry.count:.1%}" for entry in worst)
    return [*lines, f"worst classes: {', '.join(names)}"]


def _lines_of_several(measures: MultiLabelMeasures) -> list[str]:
    pairs = zip(measures.class_names, measures.average_precision, strict=True)
    known = sorted((value, name) for name, value in pairs if value is not None)
    names = (f"{name} {value:.1%}" for value, name in known[:_WORST])
    return [
        f"{measures.split} mean average precision {measures.mean_average_precision:.2%} "
        f"({_counted(measures)})",
        f"F1 micro {measures.f1_micro:.2%}, macro {measures.f1_macro:.2%}  "
        f"loss {measures.loss:.4f}",
        f"lowest average precision: {', '.join(names)}",
    ]


COMMAND = Command(
    name="eval",
    summary="Measure a network: accuracy, loss, calibration.",
    usage="[--model=MODEL] [--data=NAME] [flags]",
    epilog=INPUTS_NOTE
    + "\nexample: resnet-jax eval --model=resnet20 --weights=net.th --data=zip:cifar.zip",
    add_flags=add_flags,
    run=run,
    overrides=(CONFIG, INPUTS),
)

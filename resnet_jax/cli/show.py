"""What `resnet-jax train --show` prints."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_jax.training.recipe.config import TrainConfig
    from resnet_jax.training.workdir.layout import Workdir

_SCREEN = 80
_OF_DATA = ("model.num_classes", "model.in_features", "loss.name")


def show_recipe(
    config: TrainConfig,
    *,
    recipe: str,
    overrides: Sequence[str],
    files: Workdir,
    extend: str | None = None,
) -> Iterator[str]:
    """Yields the lines of `--show`: each value with its origin, and what happens to an image.

    Args:
        config: The recipe with the overrides applied.
        recipe: The recipe, as the user named it.
        overrides: The words that changed it.
        files: The folder of the run, which may hold one already.
        extend: As for `train`.
    """
    from resnet_jax.data.changes import describe_changes

    fitted, remarks = _fit_to_run(config, files, extend)
    yield from _settings(config, fitted, recipe=recipe, overrides=overrides, files=files)
    if remarks:
        yield f"the run in {files}:"
        for remark in remarks:
            yield from _wrapped(remark)
    config = fitted
    channels = config.model.in_features or config.data.channels
    changes = describe_changes(config.data, config.augment, channels=channels or 3)
    if config.resize is not None:
        grown = config.resize
        changes["training, on the device"].insert(
            0,
            f"resize to {grown.first} x {grown.first} pixels, growing to the full size from "
            f"{grown.begin:.0%} to {grown.end:.0%} of the run",
        )
    if channels is None:
        for lines in changes.values():
            lines[:] = [line.replace("decode to RGB", "decode to grey or RGB") for line in lines]
    for place, lines in changes.items():
        yield f"{place}:"
        for line in lines:
            yield from _wrapped(line)


def _fit_to_run(
    config: TrainConfig, files: Workdir, extend: str | None
) -> tuple[TrainConfig, list[str]]:
    """Adds what the run in the folder has from its data, and what a longer run means for it.

    What cannot be read, or done, is a remark: the recipe can be shown all the same.
    """
    from resnet_jax.errors import ConfigError
    from resnet_jax.training.extension import continued
    from resnet_jax.training.workdir.records import read_records

    remarks: list[str] = []
    try:
        if not files.has_checkpoints():
            return config, []
        config = _with_data_of(files.read_config(), config)
        remarks.append(_images_of(files))
        lengths = [one["step"] / one["epoch"] for one in read_records(files) if one.get("epoch")]
        if lengths:
            run = continued(config, files, steps_per_epoch=round(lengths[0]), extend=extend)
            config = run.config
            remarks += filter(None, [run.note])
    except (ConfigError, OSError) as error:  # such as a bucket that cannot be reached
        remarks.append(str(error))
    return config, remarks


def _with_data_of(held: TrainConfig, config: TrainConfig) -> TrainConfig:
    """Fills in what a run took from its data."""
    model = dataclasses.replace(
        config.model,
        num_classes=config.model.num_classes or held.model.num_classes,
        in_features=config.model.in_features or held.model.in_features,
    )
    weights = config.loss.class_weights
    loss = dataclasses.replace(
        config.loss,
        name=config.loss.name or held.loss.name,
        class_weights=held.loss.class_weights if isinstance(weights, (str, dict)) else weights,
    )
    halved = config.halve_batch and held.batch_size < config.batch_size
    batch_size = held.batch_size if halved else config.batch_size
    return dataclasses.replace(config, model=model, loss=loss, batch_size=batch_size)


def _images_of(files: Workdir) -> str:
    inputs = files.read_inputs()
    side = inputs.size
    size = f"images of {side} x {side} pixels" if side else "images as they are"
    names = f"; classes {', '.join(inputs.class_names)}" if inputs.class_names else ""
    return textwrap.shorten(f"{size}{names}", 2 * _SCREEN, placeholder=" ...")


def _settings(
    config: TrainConfig,
    fitted: TrainConfig,
    *,
    recipe: str,
    overrides: Sequence[str],
    files: Workdir,
) -> Iterator[str]:
    """Yields the settings, grouped by what decided them."""
    from resnet_jax.training.recipe.fields import recipe_fields, values_by_field
    from resnet_jax.training.recipe.overrides import split_override

    changed = [".".join(split_override(word)[0]) for word in overrides]
    usual = {field.path: field.default for field in recipe_fields()}
    groups: dict[str, dict[str, Any]] = {
        "settings from the command line": {},
        f"settings from the recipe {recipe}": {},
        f"settings from the run in {files}": {},
        "settings from the data (none until a run has opened them)": {},
        "defaults (change one with --config.NAME=VALUE)": {},
    }
    typed, given, kept, measured, left = groups.values()
    unfitted = values_by_field(config)
    for path, value in values_by_field(fitted).items():
        if path in _OF_DATA and unfitted[path] is None:
            measured[path] = value
        elif value != unfitted[path]:
            kept[path] = value
        elif any(f"{path}.".startswith(f"{name}.") for name in changed):
            typed[path] = value
        elif (path in usual and value == usual[path]) or value is None:
            left[path] = value
        else:
            given[path] = value
    for title, values in groups.items():
        if values:
            yield f"{title}:"
            for section in dict.fromkeys(path.rpartition(".")[0] for path in values):
                inside = {p: v for p, v in values.items() if p.rpartition(".")[0] == section}
                yield from _wrapped(" ".join(_setting(*entry) for entry in inside.items()))


def _setting(name: str, value: Any) -> str:
    """Formats a setting as `--config.` takes it."""
    if value is None or isinstance(value, str):
        return f"{name}={'none' if value is None else value}"
    return f"{name}={json.dumps(value, separators=(',', ':'))}"


def _wrapped(text: str) -> Iterable[str]:
    return textwrap.wrap(
        text,
        width=_SCREEN,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )

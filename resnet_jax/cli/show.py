"""What `resnet-jax train --show` prints."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_jax.training.recipe.config import TrainConfig

_SCREEN = 80


def show_recipe(config: TrainConfig, *, recipe: str, overrides: Sequence[str]) -> Iterator[str]:
    """Yields the lines of `--show`: each value with its origin, and what happens to an image.

    Args:
        config: The recipe with the overrides applied.
        recipe: The recipe, as the user named it.
        overrides: The words that changed it.
    """
    from resnet_jax.data.changes import describe_changes

    yield from _settings(config, recipe=recipe, overrides=overrides)
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


def _settings(config: TrainConfig, *, recipe: str, overrides: Sequence[str]) -> Iterator[str]:
    """Yields the settings, grouped by what decided them."""
    from resnet_jax.training.recipe.fields import recipe_fields, values_by_field
    from resnet_jax.training.recipe.overrides import split_override

    changed = [".".join(split_override(word)[0]) for word in overrides]
    usual = {field.path: field.default for field in recipe_fields()}
    groups: dict[str, dict[str, Any]] = {
        "settings from the command line": {},
        f"settings from the recipe {recipe}": {},
        "defaults (change one with --config.NAME=VALUE)": {},
    }
    typed, given, left = groups.values()
    for path, value in values_by_field(config).items():
        if any(f"{path}.".startswith(f"{name}.") for name in changed):
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

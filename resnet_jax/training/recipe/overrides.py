"""Checks a configuration, changes it by dotted names, and converts it to JSON and back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.fields import (
    hints_of,
    section_kind,
    unknown_field,
    values_by_field,
)
from resnet_jax.training.recipe.values import explain_problem, read_value

PREFIX = "--config."
_ADAPTER = TypeAdapter(TrainConfig)


def validate(config: TrainConfig) -> TrainConfig:
    """Checks every field of a configuration.

    Args:
        config: The result of a recipe.

    Returns:
        An equal configuration whose values have their declared types.

    Raises:
        ConfigError: A field is not allowed; one line gives its dotted path, its value and the rule.
    """
    return from_json(to_json(config))


def to_json(config: TrainConfig) -> str:
    """Converts a configuration to indented JSON, from which `from_json` restores it."""
    return json.dumps(dataclasses.asdict(config), indent=2, default=str) + "\n"


def from_json(text: str) -> TrainConfig:
    """Reads a configuration from JSON and checks it.

    Raises:
        ConfigError: The text is not JSON, or one of its fields cannot be used.
    """
    try:
        config = _ADAPTER.validate_json(_with_section_of_loss(text))
    except ValidationError as error:
        raise ConfigError(explain_problem(error, fields_at=_fields_at)) from None
    _check_milestones(config)
    return config


def parse_overrides(config: TrainConfig, arguments: Iterable[str]) -> TrainConfig:
    """Applies arguments of the form `--config.optimizer.learning_rate=0.05`, all at once.

    Args:
        config: The recipe's configuration.
        arguments: The words of the command line.

    Returns:
        The changed configuration, checked.

    Raises:
        ConfigError: A word has another form, an unknown field or a value of the wrong type.
    """
    tree = dataclasses.asdict(config)
    for argument in arguments:
        path, text = split_override(argument)
        _put(tree, path, text)
    return from_json(json.dumps(tree, default=str))


def split_override(argument: str) -> tuple[list[str], str]:
    """Splits `--config.FIELD=VALUE` into the parts of the dotted name and the value.

    Raises:
        ConfigError: The word has another form.
    """
    name, equals, text = argument.partition("=")
    if not name.startswith(PREFIX) or not equals:
        raise ConfigError(f"{argument!r} is not an override: write {PREFIX}FIELD=VALUE")
    return name.removeprefix(PREFIX).split("."), text


def differing_fields(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Lists the dotted fields in which two configurations differ, with both values."""
    left, right = values_by_field(one), values_by_field(other)
    names = sorted(name for name in left | right if left.get(name) != right.get(name))
    return [f"{name} ({left.get(name)!r}, not {right.get(name)!r})" for name in names]


def _put(tree: dict[str, Any], path: Sequence[str], text: str) -> None:
    """Writes a value into the nested dictionaries of a configuration."""
    *parents, last = path
    kind: type = TrainConfig
    for depth, name in enumerate(parents):
        inner = section_kind(_hint(kind, path[: depth + 1]))
        if inner is None:
            where = ".".join(path[: depth + 1])
            raise ConfigError(f"{where} is a plain value: it has no field {path[depth + 1]!r}")
        if tree[name] is None:  # a section that was off
            tree[name] = {}
        kind, tree = inner, tree[name]
    hint = _hint(kind, path)
    section = section_kind(hint)
    if section is None or text.lower() in ("none", "null"):
        tree[last] = read_value(text, hint, tuple(path))
    else:
        tree[last] = _read_section(text, section, ".".join(path))


def _read_section(text: str, section: type, path: str) -> Any:
    """Reads a whole section, which JSON alone can write."""
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    fields = hints_of(section)
    example = "name" if "name" in fields else next(iter(fields))
    raise ConfigError(
        f"{path}={text!r}: {path} has fields of its own; write {PREFIX}{path}.FIELD=VALUE, "
        f"such as {PREFIX}{path}.{example}={text}"
    )


def _hint(kind: type, path: Sequence[str]) -> Any:
    """Returns the type of the field that `path` ends with, after checking that it exists."""
    hints = hints_of(kind)
    if path[-1] not in hints:
        raise ConfigError(unknown_field(path, hints))
    return hints[path[-1]]


def _with_section_of_loss(text: str) -> str:
    """Rewrites the record of an older run, in which the loss had no section of its own."""
    with contextlib.suppress(json.JSONDecodeError):
        tree = json.loads(text)
        if isinstance(tree, dict) and isinstance(tree.get("loss"), str):
            moved = ("label_smoothing", "bce_threshold")
            loss = {field: tree.pop(field) for field in moved if field in tree}
            return json.dumps(tree | {"loss": {"name": tree["loss"], **loss}})
    return text


def _fields_at(path: Iterable[str]) -> list[str]:
    """Lists the fields of the dataclass at a dotted path in `TrainConfig`."""
    kind: type = TrainConfig
    for name in path:
        kind = section_kind(hints_of(kind)[name]) or kind
    return list(hints_of(kind))


def _check_milestones(config: TrainConfig) -> None:
    milestones = config.schedule.milestones
    if list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"schedule.milestones={milestones}: must increase")

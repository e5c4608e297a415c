"""Checks a configuration, changes it by dotted names, and converts it to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.recipe.config import TrainConfig

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
        config = _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    _check_milestones(config)
    return config


def parse_overrides(config: TrainConfig, arguments: Iterable[str]) -> TrainConfig:
    """Applies arguments of the form `--config.optimizer.learning_rate=0.05`.

    Args:
        config: The recipe's configuration.
        arguments: The words of the command line.

    Returns:
        The changed configuration, checked.

    Raises:
        ConfigError: A word has another form, an unknown field or a value of the wrong type.
    """
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not name.startswith(PREFIX) or not equals:
            raise ConfigError(f"{argument!r} is not an override: write {PREFIX}FIELD=VALUE")
        path = name.removeprefix(PREFIX).split(".")
        config = _replaced(config, path, text, where=())
    return validate(config)


def differing_fields(one: TrainConfig, other: TrainConfig) -> list[str]:
    """Lists the dotted fields in which two configurations differ, with both values."""
    left, right = _flatten(dataclasses.asdict(one)), _flatten(dataclasses.asdict(other))
    names = sorted(name for name in left | right if left.get(name) != right.get(name))
    return [f"{name} ({left.get(name)!r}, not {right.get(name)!r})" for name in names]


def _replaced(part: Any, path: Sequence[str], text: str, *, where: tuple[str, ...]) -> Any:
    """Returns the dataclass with the field at `path` replaced by the value in `text`."""
    name, *rest = path
    hint = _hints(part, (*where, name))[name]
    here = (*where, name)
    if not rest:
        return dataclasses.replace(part, **{name: _parse(text, hint, here)})
    inner = getattr(part, name)
    if inner is None:
        kinds = [kind for kind in _choices(hint) if isinstance(kind, type)]
        inner = next((kind() for kind in kinds if dataclasses.is_dataclass(kind)), None)
    if not dataclasses.is_dataclass(inner):
        raise ConfigError(f"{'.'.join(here)} is a plain value: it has no field {rest[0]!r}")
    return dataclasses.replace(part, **{name: _replaced(inner, rest, text, where=here)})


def _hints(part: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """Returns the fields of a dataclass with their types, after checking that one exists."""
    hints = typing.get_type_hints(type(part), include_extras=True)
    known = {field.name: hints[field.name] for field in dataclasses.fields(part)}
    if path[-1] not in known:
        raise ConfigError(_unknown(path, known))
    return known


def _unknown(path: Sequence[str], known: Iterable[str]) -> str:
    fields = sorted(known)
    hint = nearest(path[-1], fields) or f" Its fields: {', '.join(fields)}."
    return f"{'.'.join(path)}: {'.'.join(path[:-1]) or 'config'} has no field {path[-1]!r}.{hint}"


def _choices(hint: Any) -> tuple[Any, ...]:
    """Returns the members of a union, or just the type."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _parse(text: str, hint: Any, path: tuple[str, ...]) -> Any:
    """Reads a word of the command line as a value of a field's type."""
    if text.lower() in ("none", "null") and type(None) in _choices(hint):
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        as_json = error
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        is_json = as_json.errors()[0]["type"] != "json_invalid"
        raise ConfigError(_explain(as_json if is_json else error, path)) from None


def _explain(error: ValidationError, prefix: tuple[str, ...] = ()) -> str:
    """Turns pydantic's report into one line about the first error."""
    first = error.errors(include_url=False)[0]
    path = (*prefix, *(str(part) for part in first["loc"]))
    match first["type"]:
        case "json_invalid":
            return f"{'.'.join(prefix) or 'config'}: {first['msg']}"
        case "unexpected_keyword_argument":
            return _unknown(path, _fields_at(path[:-1]))
        case "value_error":
            return str(first["ctx"]["error"])
    rule = first["msg"].replace("Input should", "must")
    return f"{'.'.join(path) or 'config'}={first['input']!r}: {rule}"


def _fields_at(path: Iterable[str]) -> list[str]:
    """Lists the fields of the dataclass at a dotted path in `TrainConfig`."""
    kind: Any = TrainConfig
    for name in path:
        hints = typing.get_type_hints(kind)
        kind = next(k for k in _choices(hints[name]) if dataclasses.is_dataclass(k))
    return [field.name for field in dataclasses.fields(kind)]


def _check_milestones(config: TrainConfig) -> None:
    milestones = config.schedule.milestones
    if list(milestones) != sorted(set(milestones)):
        raise ConfigError(f"schedule.milestones={milestones}: must increase")


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        flat.update(_flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value})
    return flat

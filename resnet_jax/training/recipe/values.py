"""Reads a value from the command line, and explains in one line why one cannot be used."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.recipe.fields import choices, unknown_field

_CHOICES = ("literal[", "constrained-", "dict[", "tuple[")
"""What pydantic's names for the choices of a field begin with."""


def read_value(text: str, hint: Any, path: tuple[str, ...]) -> Any:
    """Reads a word of the command line as a value of a field's type.

    Several numbers may be written as JSON `[0.9,0.95]`, as Python `(0.9, 0.95)` or bare
    `0.9,0.95`; a single one needs neither brackets nor a comma. Numbers by name may be written as
    JSON or bare, `cat:2,dog:0.5`.

    Args:
        text: What stands after the equals sign.
        hint: The type.
        path: The parts of the field's dotted name, for messages.

    Raises:
        ConfigError: The text is not a value of this type.
    """
    if text.lower() in ("none", "null") and type(None) in choices(hint):
        return None
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        as_json = error
    kinds = {typing.get_origin(kind): kind for kind in choices(hint)}
    kind = kinds.get(tuple)
    reading: Any = text
    if dict in kinds and ":" in text:
        reading = _pairs(text, path)
    elif kind is not None and text not in _words(hint):
        reading = _items(text, kind, path)
        if _words(hint) and len(reading) == 1 and isinstance(reading[0], str):
            words = _words(hint)
            names = " or NAME:NUMBER," if dict in kinds else ""
            raise ConfigError(
                f"{'.'.join(path)}={text!r}: must be {' or '.join(words)}, or numbers{names} "
                f"separated by commas.{nearest(text, words)}"
            )
    try:
        return adapter.validate_python(reading)
    except ValidationError as error:
        is_json = kind is None and as_json.errors()[0]["type"] != "json_invalid"
        raise ConfigError(explain_problem(as_json if is_json else error, prefix=path)) from None


def explain_problem(
    error: ValidationError,
    *,
    prefix: tuple[str, ...] = (),
    fields_at: Callable[[Iterable[str]], list[str]] | None = None,
) -> str:
    """Turns pydantic's report into one line about the first error.

    Args:
        error: The report.
        prefix: The parts of the dotted name of what was checked.
        fields_at: Lists the fields at a dotted name, for names that do not exist.
    """
    first, place = _most_specific(error)
    path = (*prefix, *(str(part) for part in place))
    name = ".".join(path) or "config"
    match first["type"]:
        case "json_invalid":
            return f"{'.'.join(prefix) or 'config'}: {first['msg']}"
        case "unexpected_keyword_argument" if fields_at is not None:
            return unknown_field(path, fields_at(path[:-1]))
        case "missing" | "missing_argument":
            return f"{name} has no default: give it a value as well"
        case "value_error":
            problem = first["ctx"]["error"]
            is_whole = isinstance(problem, ConfigError)  # of a dataclass, which names its fields
            return str(problem) if is_whole else f"{name}={first['input']!r}: {problem}"
    rule = first["msg"].replace("Input should", "must")
    return f"{name}={first['input']!r}: {rule}"


def _most_specific(error: ValidationError) -> tuple[Any, tuple[int | str, ...]]:
    """Picks the error to report: the first, or of the choices of a field the one that got furthest.

    Returns:
        The error, and where it is, without pydantic's names for the choices.
    """
    errors = error.errors(include_url=False)
    first = errors[0]
    place = first["loc"]
    if not place or not str(place[-1]).startswith(_CHOICES):
        return first, place
    field = place[:-1]
    furthest = max((one for one in errors if one["loc"][: len(field)] == field), key=_depth)
    return furthest, (*field, *furthest["loc"][len(place) :])


def _depth(error: Any) -> int:
    return len(error["loc"])


def _words(hint: Any) -> list[str]:
    """Lists the words that a type allows instead of several values."""
    kinds = (kind for kind in choices(hint) if typing.get_origin(kind) is Literal)
    return [word for kind in kinds for word in typing.get_args(kind)]


def _pairs(text: str, path: tuple[str, ...]) -> dict[str, Any]:
    """Splits the text of a dictionary, such as `cat:2,dog:0.5`."""
    pairs: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.rpartition(":")
        if name.strip() in pairs:
            raise ConfigError(f"{'.'.join(path)}={text}: {name.strip()!r} stands in it twice")
        pairs[name.strip()] = _item(value)
    return pairs


def _items(text: str, kind: Any, path: tuple[str, ...]) -> tuple[Any, ...]:
    """Splits the text of a tuple; checks the number of items if the type fixes it."""
    body = text.strip()
    if body[:1] + body[-1:] in ("()", "[]"):
        body = body[1:-1]
    items = tuple(_item(part.strip()) for part in body.strip().removesuffix(",").split(","))
    types = typing.get_args(kind)
    if Ellipsis not in types and len(items) != len(types):
        raise ConfigError(
            f"{'.'.join(path)}={text}: give {len(types)} values, such as "
            f"{','.join(['0.5'] * len(types))}"
        )
    return items if body.strip() else ()


def _item(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip("'\"")

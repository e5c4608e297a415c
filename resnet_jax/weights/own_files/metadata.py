"""Typed values from the text in a file's metadata."""

import json
import math
from typing import Any

from resnet_jax.errors import shown

_LONGEST = 200  # characters of a text: a name or a path
_LARGEST = 2**63


def plain_json(text: str, *, most: int | None = _LONGEST) -> Any:
    """Reads JSON as plain values.

    Args:
        text: The JSON.
        most: Characters that a text in it may have; None allows any number.

    Raises:
        ValueError: It is not JSON, or has a number that is not finite or more than 64 bits long, or
            a text that is too long.
    """
    try:
        value = json.loads(text)
        _check_plain(value, "the metadata", most)
    except RecursionError:
        raise ValueError("the metadata is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"Invalid JSON: {error}") from None
    return value


def _check_plain(value: Any, place: str, most: int | None) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_plain(name, "a name in the metadata", most)
            _check_plain(inner, name, most)
    elif isinstance(value, list):
        for inner in value:
            _check_plain(inner, place, most)
    elif isinstance(value, str) and most is not None and len(value) > most:
        raise ValueError(f"{shown(place)} has a text of {len(value):,} characters")
    elif isinstance(value, int) and abs(value) >= _LARGEST:
        raise ValueError(f"{shown(place)}={shown(value)} is too large")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{shown(place)}={value} is not a number")


def parse_json(kind: Any, text: str, *, most: int | None = _LONGEST) -> Any:
    """Reads JSON as a value of a type.

    Args:
        kind: The type.
        text: The JSON.
        most: As for `plain_json`.

    Raises:
        ValueError: It is not such a value.
    """
    import pydantic  # loaded with a file, not with a network

    plain = plain_json(text, most=most)
    adapter = pydantic.TypeAdapter(kind)
    try:
        value = adapter.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the metadata"
        raise ValueError(f"{place}: {first['msg']}") from None
    # Pydantic ignores fields that a dataclass does not have.
    unknown = _flat(plain) - _flat(adapter.dump_python(value))
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}")
    return value


def _flat(tree: Any, prefix: str = "") -> set[str]:
    """Returns the dotted names of the fields in nested dictionaries."""
    fields: set[str] = set()
    if not isinstance(tree, dict):
        return fields
    for name, value in tree.items():
        fields.add(prefix + name)
        fields |= _flat(value, f"{prefix}{name}.")
    return fields

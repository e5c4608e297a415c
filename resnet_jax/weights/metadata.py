"""Typed values from the text in a file's metadata."""

import json
from typing import Any


def parse_json(kind: Any, text: str) -> Any:
    """Reads JSON as a value of a type.

    Raises:
        ValueError: It is not such a value.
    """
    import pydantic  # loaded with a file, not with a network

    adapter = pydantic.TypeAdapter(kind)
    try:
        value = adapter.validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the metadata"
        raise ValueError(f"{place}: {first['msg']}") from None
    # Pydantic ignores fields that a dataclass does not have.
    unknown = _flat(json.loads(text)) - _flat(adapter.dump_python(value))
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

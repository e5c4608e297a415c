"""JSON that every program can read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    r"""Writes a value as JSON in ASCII, so that it survives every encoding.

    Infinity and NaN, which JSON does not have, become null. The bytes of a file name that is not
    UTF-8 are escaped as Python holds them: byte FF is `\udcff`, and `os.fsencode` of what
    `json.loads` returns is the name again.

    Args:
        value: Dictionaries, lists, tuples, strings, numbers, booleans and None.
        indent: Spaces per level; None writes one line.
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value

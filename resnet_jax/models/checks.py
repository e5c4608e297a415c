"""Checks of values of a config; the error names the field, the value and the remedy."""

import dataclasses
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError, nearest, shown

_LARGEST = 2**31 - 1
_LARGEST_RATIO = 1000


def check_name(field: str, value: str, table: Mapping[str, object]) -> None:
    """Checks that a value is one of a table's names.

    Raises:
        ConfigError: It is not.
    """
    if value not in table:
        names = ", ".join(name or repr(name) for name in table)
        text = shown(value)
        raise ConfigError(
            f"{field}={text!r} is unknown; choose one of {names}.{nearest(text, table)}"
        )


def check_positive(field: str, value: int | tuple[int, ...]) -> None:
    """Checks that a whole number, or each of several, is 1 or more, and that 32 bits hold it.

    Raises:
        ConfigError: It is not.
    """
    numbers = value if isinstance(value, tuple) else (value,)
    if min(numbers) < 1:
        raise ConfigError(f"{field}={shown(value)} must be at least 1.")
    if max(numbers) > _LARGEST:
        raise ConfigError(f"{field}={shown(value)} must be at most {_LARGEST}.")


def check_ratio(field: str, value: float | None) -> None:
    """Checks that a ratio of channels is a positive number, if there is one.

    Raises:
        ConfigError: It is not.
    """
    if value is not None and not 0.0 < value <= _LARGEST_RATIO:
        raise ConfigError(f"{field}={shown(value)} must lie in (0, {_LARGEST_RATIO}].")


def check_rate(field: str, value: float) -> None:
    """Checks that a value is a probability below 1.

    Raises:
        ConfigError: It is not.
    """
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{field}={shown(value)} must lie in [0, 1).")


def check_floating(field: str, dtype: DTypeLike) -> None:
    """Checks that a network can compute in a dtype, or store parameters in it.

    Raises:
        ConfigError: There is no such dtype, or its values are not real floating-point numbers.
    """
    try:
        floating = jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        floating = False
    if not floating:
        raise ConfigError(
            f"{field}={dtype!r} is not a floating-point dtype; bfloat16 and float32 are usual."
        )


class _Kind(NamedTuple):
    """How a value is read, with TypeError for what it cannot be, and what it can be in words."""

    read: Callable[[Any], Any]
    words: str


def make_plain(prefix: str, config: Any) -> None:
    """Gives each field of a new frozen dataclass a value of the type of its annotation.

    Lists become tuples and NumPy's numbers Python's, so that equal configs have equal hashes and
    can be written as JSON.

    Args:
        prefix: What precedes the name of a field in messages.
        config: An instance, whose values are replaced.

    Raises:
        ConfigError: A value is of another kind.
    """
    for field in dataclasses.fields(config):
        value, annotation = getattr(config, field.name), cast(Any, field.type)
        kind = _KINDS.get(annotation) or _Kind(_instance(annotation), f"a {annotation.__name__}")
        try:
            plain = kind.read(value)
        except (OverflowError, TypeError, ValueError):
            raise ConfigError(
                f"{prefix}{field.name}={shown(repr(value))} must be {kind.words}."
            ) from None
        object.__setattr__(config, field.name, plain)


def _whole(value: Any) -> int:
    return operator.index(_not_a_switch(value))


def _real(value: Any) -> float:
    return float(_of(numbers.Real, _not_a_switch(value)))


def _switch(value: Any) -> bool:
    return bool(_of((bool, np.bool_), value))


def _text(value: Any) -> str:
    return _of(str, value)


def _texts(value: Any) -> str | tuple[str, ...]:
    return value if isinstance(value, str) else tuple(map(_text, value))


def _wholes(value: Iterable[Any]) -> tuple[int, ...]:
    return tuple(map(_whole, value))


def _not_a_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    return value


def _of(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


def _instance(kind: type) -> Callable[[Any], Any]:
    return lambda value: _of(kind, value)


def _or_none(kind: _Kind) -> _Kind:
    return _Kind(lambda v: None if v is None else kind.read(v), f"{kind.words}, or None")


_WHOLE = _Kind(_whole, "a whole number")
_REAL = _Kind(_real, "a number")
_TEXT = _Kind(_text, "a name in quotes")
# By annotation; other types are classes, whose instances stay as they are.
_KINDS: Mapping[Any, _Kind] = {
    int: _WHOLE,
    int | None: _or_none(_WHOLE),
    float: _REAL,
    float | None: _or_none(_REAL),
    bool: _Kind(_switch, "True or False"),
    str: _TEXT,
    str | None: _or_none(_TEXT),
    tuple[int, ...]: _Kind(_wholes, "a tuple of whole numbers"),
    str | tuple[str, ...]: _Kind(_texts, "a name in quotes or a tuple of names"),
}

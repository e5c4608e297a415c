"""Checks of one value of a config; the error names the field, the value and the remedy."""

from collections.abc import Mapping

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

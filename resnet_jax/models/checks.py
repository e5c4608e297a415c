"""Checks of one value of a config; the error names the field, the value and the remedy."""

from collections.abc import Mapping

from resnet_jax.errors import ConfigError, nearest


def check_name(field: str, value: str, table: Mapping[str, object]) -> None:
    """Checks that a value is one of a table's names.

    Raises:
        ConfigError: It is not.
    """
    if value not in table:
        names = ", ".join(name or repr(name) for name in table)
        raise ConfigError(
            f"{field}={value!r} is unknown; choose one of {names}.{nearest(value, table)}"
        )


def check_positive(field: str, value: int | tuple[int, ...]) -> None:
    """Checks that a whole number, or each of several, is 1 or more.

    Raises:
        ConfigError: It is not.
    """
    if min(value if isinstance(value, tuple) else (value,)) < 1:
        raise ConfigError(f"{field}={value} must be at least 1.")


def check_rate(field: str, value: float) -> None:
    """Checks that a value is a probability below 1.

    Raises:
        ConfigError: It is not.
    """
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{field}={value} must lie in [0, 1).")

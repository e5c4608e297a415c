"""Which maps of a network are wanted."""

import operator
from collections.abc import Iterable

from resnet_jax.errors import ConfigError


def resolve_indices(field: str, indices: Iterable[int], count: int) -> tuple[int, ...]:
    """Returns the numbers of the wanted maps, in the order of depth.

    Args:
        field: The name of the argument, for messages.
        indices: Numbers of maps; negative ones count from the end.
        count: How many maps there are.

    Raises:
        ConfigError: There is no map of an index, none is wanted, or the indices are not a sequence
            of whole numbers.
    """
    wanted = _numbers(field, indices)
    for index in wanted:
        if not -count <= index < count:
            raise ConfigError(
                f"{field}={wanted}: there is no map {index}; the network has {count}, from 0 "
                f"after the stem to {count - 1} after the last stage."
            )
    if not wanted:
        raise ConfigError(f"{field}=() asks for no map; name at least one.")
    return tuple(sorted({index % count for index in wanted}))


def _numbers(field: str, indices: Iterable[int]) -> tuple[int, ...]:
    """Returns several whole numbers, such as those of a tuple or of an array, as Python's."""
    try:
        # A single number may mean this map or, as in timm, the last so many. Booleans are a mask.
        numbers = tuple(indices)
        if not any(isinstance(number, bool) for number in numbers):
            return tuple(operator.index(number) for number in numbers)
    except TypeError:
        pass
    given = " ".join(repr(indices).split())  # that of an array may have several lines
    raise ConfigError(
        f"{field}={given} is not a sequence of whole numbers; (1, -1), for instance, asks for "
        f"the maps after the first and after the last stage."
    )

"""Finds the weights in a training checkpoint, among its other entries and under wrappers' names."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from resnet_jax.errors import shown
from resnet_jax.weights import names
from resnet_jax.weights.errors import WeightsError, listed

_logger = logging.getLogger(__name__)

_AVERAGES = ("state_dict_ema", "model_ema")
# In the order in which timm looks for them.
_CONVENTION = (*_AVERAGES, "state_dict", "model")
_USUAL = ("model_state", "model_state_dict", "net", "weights")
_DEPTH = 3


def find_weights(source: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Returns the weights in a state dict or a training checkpoint.

    Of several entries, timm's convention decides: averages before live weights. What was chosen is
    logged at level INFO. Counters of steps are dropped, and so are the prefixes of wrappers.

    Args:
        source: A state dict, or a checkpoint that holds one as an entry.
        origin: Names the source in messages.

    Returns:
        Name in the naming of the network -> value.

    Raises:
        WeightsError: There are no weights, or several entries and no convention chooses one.
    """
    for _ in range(_DEPTH + 2):
        known: dict[tuple[int, int], bool] = {}
        entries = {
            name: value
            for name, value in source.items()
            if isinstance(name, str) and _holds_weights(value, _DEPTH, known)
        }
        entry = _choose(entries, origin, only=not any(map(_is_array, source.values())))
        if entry is None:
            break
        _report(entry, entries, origin)
        source, origin = entries[entry], f"{origin}[{shown(entry)!r}]"
    else:
        raise WeightsError(f"{shown(origin)} and further entries hold each other, without end.")
    if not source or not all(isinstance(key, str) for key in source):
        raise WeightsError(
            f"{origin} holds no weights: expected names and arrays, as from module.state_dict()."
        )
    return {key: source[outer] for key, outer in _inner_keys(source).items()}


def empty(tree: Any) -> None:
    """Empties nested dictionaries, so that nothing but `find_weights`' result holds the arrays."""
    if isinstance(tree, dict):
        for value in tree.values():
            empty(value)
        tree.clear()


def _choose(entries: Mapping[str, Any], origin: str, *, only: bool) -> str | None:
    """Returns the entry to read; None if the source itself is the state dict.

    Args:
        entries: The entries that hold weights.
        origin: Names the source in messages.
        only: Whether an entry of any name will do, since there are no weights next to it.
    """
    preferred = [name for name in _CONVENTION if name in entries][:1]
    usual = [name for name in _USUAL if name in entries]
    candidates = preferred or usual or (list(entries) if only else [])
    if not candidates:
        return None
    different = {id(value): value for value in entries.values()}  # many names may share one
    keys = {place: _inner_keys(value).keys() for place, value in different.items()}
    wanted = keys[id(entries[candidates[0]])]
    known = {*_CONVENTION, *candidates}
    rivals = [
        name for name, value in entries.items() if name not in known and keys[id(value)] == wanted
    ]
    if len(candidates) + len(rivals) > 1:
        raise _undecided([*candidates, *rivals], origin)
    return candidates[0]


def _undecided(candidates: Sequence[str], origin: str) -> WeightsError:
    first = shown(candidates[0])
    return WeightsError(
        f"{origin} holds weights in {len(candidates)} entries, and nothing says which to use: "
        f"{listed(candidates)}. Pass the one you want, such as checkpoint[{first!r}] after "
        f"checkpoint = torch.load(FILE), or a file with that one only."
    )


def _report(entry: str, entries: Mapping[str, Any], origin: str) -> None:
    """Logs which entry is read, visibly if there was a choice."""
    others = [repr(name) for name in entries if name != entry]
    average = entry in _AVERAGES
    _logger.log(
        logging.INFO if others or average else logging.DEBUG,
        "%s: read the entry %r%s%s",
        origin,
        shown(entry),
        " (moving averages)" if average else "",
        f", not {listed(others)}" if others else "",
    )


def _holds_weights(value: Any, depth: int, known: dict[tuple[int, int], bool]) -> bool:
    """Whether a value is a state dict, or holds one at most so many levels below.

    Args:
        value: The value.
        depth: The number of levels.
        known: The answers for mappings that others hold as well, by identity and depth.
    """
    if not isinstance(value, Mapping):
        return False
    place = id(value), depth
    if place not in known:
        inside = value.values() if all(isinstance(key, str) for key in value) else ()
        known[place] = any(map(_is_array, inside)) or (
            depth > 0 and any(_holds_weights(inner, depth - 1, known) for inner in inside)
        )
    return known[place]


def _is_array(value: Any) -> bool:
    """Whether a value has axes; a number, such as a measured accuracy, has none."""
    return hasattr(value, "dtype") and bool(getattr(value, "shape", ()))


def _inner_keys(state_dict: Mapping[str, Any]) -> dict[str, str]:
    """Maps the names without prefixes to those in the source; counters are left out."""
    return names.unwrapped_keys(key for key in state_dict if not names.is_counter(key))

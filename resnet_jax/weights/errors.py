"""The error for weights that cannot be used, and its message."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from resnet_jax.errors import shown

_SHOWN = 4
_LONGEST = 160


class WeightsError(ValueError):
    """Weights do not fit, or a weights file cannot be read.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


class UnavailableWeightsError(WeightsError):
    """Published weights cannot be had, and a file of the user's may take their place.

    Args:
        text: The message, with `{file}` where it says how a file is given.
        passed_as: How the caller takes the path of a file.
    """

    def __init__(self, text: str, *, passed_as: str = "pretrained=PATH") -> None:
        super().__init__(text.format(file=passed_as))
        self._text = text

    def for_flag(self, flag: str) -> UnavailableWeightsError:
        """Returns the same error for a command that takes the path as this flag."""
        return type(self)(self._text, passed_as=flag)


@dataclasses.dataclass
class Mismatch:
    """The reasons why arrays do not fit a module, collected for one message.

    Attributes:
        missing: Keys that the module needs.
        unexpected: Keys that the module does not have.
        shapes: Keys whose arrays have another shape, with both shapes.
        not_floats: Keys whose values are not arrays of floats.
        remedies: Sentences that say how to fix some of the keys and shapes.
        beyond_remedy: Whether no remedy fixes some of them.
    """

    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    shapes: list[str] = dataclasses.field(default_factory=list)
    not_floats: list[str] = dataclasses.field(default_factory=list)
    remedies: list[str] = dataclasses.field(default_factory=list)
    beyond_remedy: bool = False

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes or self.not_floats)

    def __str__(self) -> str:
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
            "not an array of floats": self.not_floats,
        }
        parts = [f"{len(keys)} {kind}: {listed(keys)}" for kind, keys in kinds.items() if keys]
        text = "; ".join(parts) + "."
        fixable = not (self.not_floats or self.beyond_remedy)
        return " ".join([text, *dict.fromkeys(self.remedies)]) if fixable else text


def listed(entries: Sequence[str]) -> str:
    """Joins the first few entries and counts the rest: `a, b, c, d and 17 more`."""
    text = ", ".join(shown(entry, most=_LONGEST) for entry in entries[:_SHOWN])
    rest = len(entries) - _SHOWN
    return f"{text} and {rest} more" if rest > 0 else text

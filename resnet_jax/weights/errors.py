"""The error of weights that cannot be used, and what it says."""

import dataclasses
from collections.abc import Sequence

_SHOWN = 4


class WeightsError(ValueError):
    """Weights do not fit, or a file of weights cannot be read.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


@dataclasses.dataclass
class Mismatch:
    """What keeps arrays from fitting a module, gathered to be told at once.

    Attributes:
        missing: Keys that the module needs.
        unexpected: Keys that the module does not know.
        shapes: Keys whose arrays have another shape, with both.
        no_floats: Keys whose values are no arrays of floats.
        remedies: Sentences on how to ask for what would mend some of the shapes.
        beyond_remedy: Whether a shape remains that no remedy mends.
    """

    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    shapes: list[str] = dataclasses.field(default_factory=list)
    no_floats: list[str] = dataclasses.field(default_factory=list)
    remedies: list[str] = dataclasses.field(default_factory=list)
    beyond_remedy: bool = False

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes or self.no_floats)

    def __str__(self) -> str:
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.shapes,
            "no array of floats": self.no_floats,
        }
        parts = [f"{len(keys)} {kind}: {listed(keys)}" for kind, keys in kinds.items() if keys]
        text = "; ".join(parts) + "."
        mendable = not (self.missing or self.unexpected or self.no_floats or self.beyond_remedy)
        return " ".join([text, *dict.fromkeys(self.remedies)]) if mendable else text


def listed(entries: Sequence[str]) -> str:
    """Joins the first few entries and counts the rest: `a, b, c, d and 17 more`."""
    text = ", ".join(entries[:_SHOWN])
    rest = len(entries) - _SHOWN
    return f"{text} and {rest} more" if rest > 0 else text

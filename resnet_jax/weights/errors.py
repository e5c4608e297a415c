"""The error for weights that cannot be used, and its message."""

import dataclasses
from collections.abc import Sequence

from resnet_jax.errors import shown

_SHOWN = 4
_LONGEST = 160


class WeightsError(ValueError):
    """Weights do not fit, or a weights file cannot be read.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


class UnreachableWeightsError(WeightsError):
    """Published weights are not cached, and the Hugging Face hub cannot be reached.

    Args:
        repository: The repository on the hub.
        file: The file in it.
        passed_as: How the caller takes the path of a file instead.
    """

    def __init__(self, repository: str, file: str, *, passed_as: str = "pretrained=PATH") -> None:
        super().__init__(
            f"{repository} is not cached and the Hugging Face hub cannot be reached: run "
            f"`hf download {repository} {file}` on a machine that is online, copy the file here "
            f"and pass its path as {passed_as}, or set HF_HOME to the cache that holds it."
        )
        self._asked = repository, file

    def for_flag(self, flag: str) -> "UnreachableWeightsError":
        """Returns the same error for a command that takes the path as this flag."""
        return UnreachableWeightsError(*self._asked, passed_as=flag)


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

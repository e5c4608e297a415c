"""The error of weights that cannot be used."""

from collections.abc import Sequence

_SHOWN = 4


class WeightsError(ValueError):
    """Weights do not fit, or a file of weights cannot be read.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


def listed(entries: Sequence[str]) -> str:
    """Joins the first few entries and counts the rest: `a, b, c, d and 17 more`."""
    text = ", ".join(entries[:_SHOWN])
    rest = len(entries) - _SHOWN
    return f"{text} and {rest} more" if rest > 0 else text

"""Errors that a user can fix: one line with the name, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A setting that the user gave cannot be used.

    Every message is one line. The command line prints it as it is and exits with status 2.
    """


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Suggests the known names that resemble an unknown one.

    Args:
        name: What the user wrote.
        candidates: The names that exist.

    Returns:
        A sentence to append to an error message, such as ``" Did you mean 'a' or 'b'?"``, or the
        empty string if nothing comes close.
    """
    close = difflib.get_close_matches(name, list(candidates), n=3, cutoff=0.6)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(match) for match in close)}?"


def shown(value: object, most: int = 200) -> str:
    """Returns a value from a file as a message quotes it: on one line, and not at length.

    Args:
        value: A text, a number or a flat list.
        most: The number of characters; the middle of a longer text is left out.
    """
    text = str(value)
    if len(text) > most:
        text = f"{text[: most - 23]}...{text[-20:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def counted(number: int, noun: str, *, plural: str | None = None) -> str:
    """Returns a number with its noun as a message writes them: `1 step`, `1,797 images`.

    Args:
        number: How many.
        noun: For one of them.
        plural: For several; None adds an s, or es to class.
    """
    return f"{number:,} {noun_for(number, noun, plural=plural)}"


def noun_for(number: float, noun: str, *, plural: str | None = None) -> str:
    """Returns the noun that goes with a number, without the number; see `counted`."""
    usual = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return noun if number == 1 else plural or usual

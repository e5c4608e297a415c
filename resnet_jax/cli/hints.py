"""What to write instead of a word that a command does not know."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence

from resnet_jax.errors import ConfigError

CONFIG = "--config."
INPUTS = "--inputs."
_MOST = 3


def check_unknown(
    words: Sequence[str],
    parser: argparse.ArgumentParser,
    *,
    overrides: tuple[str, ...],
    advice: Mapping[str, str],
) -> None:
    """Checks that the words which the parser left over are overrides.

    Args:
        words: The words.
        parser: The parser of the command, for its flags.
        overrides: The prefixes of the words such as `--config.FIELD=VALUE` that it takes.
        advice: What to do instead of a flag that other programs have, by its name: a flag, or a
            sentence.

    Raises:
        ConfigError: A word is no override; the message says what to write instead.
    """
    for index, word in enumerate(words):
        following = words[index + 1 : index + 2]
        if overrides and word.startswith(overrides):
            _check_has_value(word, following)
            continue
        name, equals, value = word.partition("=")
        if not equals and following and not following[0].startswith("-"):
            equals, value = "=", following[0]
        remedy = advice.get(name.lstrip("-"), "")
        if not remedy or remedy.startswith("--"):
            names = [remedy] if remedy else _resembling(name, parser, overrides)
            remedy = _did_you_mean([f"{one}{equals}{value}" for one in names])
        if not remedy and overrides:
            fields = " and ".join(f"{beginning}FIELD=VALUE" for beginning in overrides)
            remedy = f"Fields are {fields}"
        raise ConfigError(
            f"unknown argument {word!r}. {remedy or f'{parser.prog} --help lists the flags'}"
        )


def _check_has_value(word: str, following: Sequence[str]) -> None:
    if "=" not in word:
        value = following[0] if following and not following[0].startswith("-") else "VALUE"
        raise ConfigError(f"{word!r} is not followed by an equals sign: write {word}={value}")


def _resembling(
    name: str, parser: argparse.ArgumentParser, overrides: tuple[str, ...]
) -> list[str]:
    """Finds the flags of a command and the fields of a recipe that a name probably means."""
    if not name.startswith("-"):
        return []
    known = [option for option in _options(parser) if option.startswith("--")]
    flags = difflib.get_close_matches(name, known, n=_MOST, cutoff=0.75)
    if CONFIG not in overrides:
        return flags
    from resnet_jax.training.recipe.fields import resembling

    bare = name.lstrip("-")
    # `--workers` is a field of that name, not a misspelled `--workdir`.
    fields = resembling(bare, exactly=True) or ([] if flags else resembling(bare))
    return [f"{CONFIG}{path}" for path in fields[:_MOST]] or flags


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Lists the flags that the help shows."""
    return [
        option
        for action in parser._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    ]


def _did_you_mean(names: Sequence[str]) -> str:
    return f"Did you mean {' or '.join(map(repr, names))}?" if names else ""

"""`resnet-jax fields`."""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import inspect
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from resnet_jax.cli.command import Command
from resnet_jax.errors import ConfigError

if TYPE_CHECKING:
    from resnet_jax.training.recipe.fields import RecipeField

_SCREEN = 80
_INTRODUCTION = """\
# Fields of a recipe

Every field that a recipe can set, and `--config.FIELD=VALUE` on the command line. `none` clears a
field that allows it. Several values are written `0.9,0.95`, `(0.9, 0.95)` or `[0.9,0.95]`.
[recipes.md](recipes.md) shows how to write a recipe. `resnet-jax fields PATTERN` prints the same in
a terminal. `resnet-jax fields --markdown > docs/fields.md` writes this page.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="'data.*' (*)")
    parser.add_argument("--markdown", action="store_true", help="print the page of the manual")


def run(flags: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Prints what the fields of a recipe mean."""
    from resnet_jax.training.recipe.fields import recipe_fields, resembling

    del overrides
    if flags.markdown:
        print("\n".join(reference_page()))
        return 0
    found = [one for one in recipe_fields() if fnmatch.fnmatchcase(one.path, flags.pattern)]
    if not found:
        names = " or ".join(repr(path) for path in resembling(flags.pattern))
        hint = f"Did you mean {names}?" if names else "A pattern looks like 'optimizer.*'"
        raise ConfigError(f"no field matches {flags.pattern!r}. {hint}")
    for one in found:
        print(f"{one.path}={_default(one)}")
        for text in (_kind(one), one.meaning):
            print(textwrap.indent(textwrap.fill(text.replace("`", ""), _SCREEN - 2), "  "))
    return 0


def reference_page() -> Iterator[str]:
    """Yields the lines of docs/fields.md."""
    from resnet_jax.training.recipe.fields import recipe_fields, recipe_sections

    yield _INTRODUCTION
    for section, kind, is_off in recipe_sections():
        summary = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")[0]
        off = f" A recipe has no `{section}` unless it sets one." if is_off else ""
        yield f"## {section or 'The run'}\n"
        yield f"{' '.join(summary.split())}{off}\n"
        yield "| field | type | default | meaning |"
        yield "|---|---|---|---|"
        for one in recipe_fields():
            if one.path.rpartition(".")[0] == section:
                cells = (f"`{one.path}`", _kind(one), f"`{_default(one)}`", one.meaning)
                yield f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
        yield ""


def _kind(one: RecipeField) -> str:
    from resnet_jax.training.recipe.fields import type_in_words

    return type_in_words(one.hint)


def _default(one: RecipeField) -> str:
    """Formats a default as `--config.` takes it."""
    if one.default is dataclasses.MISSING:
        return "to be given"
    value: Any = one.default
    if value is None or isinstance(value, str):
        return "none" if value is None else value
    return json.dumps(value, separators=(",", ":"))


COMMAND = Command(
    name="fields",
    summary="Explain the fields of a recipe.",
    usage="[PATTERN] [--markdown]",
    epilog="example: resnet-jax fields 'optimizer.*'",
    add_flags=add_flags,
    run=run,
)

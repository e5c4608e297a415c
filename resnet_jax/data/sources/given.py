"""Splits that a program hands to the trainer, for `given:NAME`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NoReturn

from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.examples import Source
from resnet_jax.errors import ConfigError

PREFIX = "given:"


def choose_given_split(sources: Mapping[str, Source], split: str, *, name: str) -> Source:
    """Chooses a split by its name, and copies it so that settings of a run stay with the run.

    Args:
        sources: The splits.
        split: One of their names, as the recipe has it.
        name: `data.name` of the recipe.

    Raises:
        ConfigError: The recipe names another dataset, or the split is not among them.
    """
    if not name.startswith(PREFIX):
        raise ConfigError(
            f"data.name={name!r} names a dataset and sources are given as well; set "
            f"data.name='{PREFIX}NAME', where NAME says in records and messages what they are"
        )
    if split not in sources:
        raise ConfigError(
            f"sources has {', '.join(map(repr, sources)) or 'nothing'} and not the split "
            f"{split!r} of the recipe"
        )
    return copy.copy(sources[split])


def open_given_split(
    name: str, split: str, *, channels: int | None, bad_examples: BadExamples | None
) -> NoReturn:
    """Refuses to open `given:NAME`, which only a program has.

    Raises:
        ConfigError: Always.
    """
    del channels, bad_examples
    raise ConfigError(
        f"data.name={name!r} was handed over by a program and cannot be opened by its name; call "
        f"train(config, workdir, sources={{{split!r}: ...}}), or give the data another name"
    )

"""`resnet-jax train --seeds=0,1,2`: one run per seed, and their mean and spread."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from resnet_jax.buckets import AnyPath
from resnet_jax.errors import ConfigError, counted
from resnet_jax.plain_json import json_text
from resnet_jax.whole_files import write_text

if TYPE_CHECKING:
    from resnet_jax.training.conclusion import Result
    from resnet_jax.training.recipe.config import TrainConfig

SUMMARY = "seeds.json"


_SUMMARIZED = ("_accuracy", "_loss", "_mean_average_precision", "_f1_micro", "_f1_macro")
_TOLD = tuple(
    f"{split}_{name}"
    for split in ("test", "validation")
    for name in ("accuracy", "mean_average_precision")
)


def read_seeds(text: str) -> tuple[int, ...]:
    """Reads `0,1,2`.

    Raises:
        ConfigError: It is not a list of different whole numbers from 0.
    """
    words = [word.strip() for word in text.split(",")]
    seeds = tuple(int(word) for word in words if word.isdecimal())
    if len(seeds) != len(words) or len(set(seeds)) != len(seeds):
        raise ConfigError(f"--seeds={text}: give different whole numbers, such as 0,1,2")
    return seeds


def train_seeds(
    config: TrainConfig,
    workdir: AnyPath,
    seeds: tuple[int, ...],
    *,
    train: Callable[[TrainConfig, AnyPath], Result],
    tell: Callable[[str], None],
    extends: bool = False,
) -> Result:
    """Trains once per seed, each in a folder of its own, and summarises the results.

    Args:
        config: The recipe; its seed is replaced.
        workdir: The folder of the folders `seed0`, `seed1` and so on, and of `seeds.json`.
        seeds: The seeds.
        train: Trains, or resumes.
        tell: Receives the lines.
        extends: Whether `train` makes runs longer.

    Returns:
        The result of the last run; of the one that was interrupted, if any was.

    Raises:
        ConfigError: The folder holds a run itself, or only some of the seeds were made longer.
    """
    if (workdir / "config.json").exists():
        raise ConfigError(f"workdir {workdir} holds a single run: choose another for --seeds")
    _check_schedules(workdir, seeds, extends=extends)
    records: dict[int, Mapping[str, Any]] = {}
    for seed in seeds:
        tell(f"seed {seed}")
        result = train(dataclasses.replace(config, seed=seed), workdir / f"seed{seed}")
        if result.status == "interrupted":
            return result
        records[seed] = result.record
    summary = summarize(records)
    write_text(workdir / SUMMARY, json_text(summary, indent=2) + "\n")
    for name in _TOLD:
        if name in summary:
            tell(_sentence(name, summary[name], seeds))
    tell(f"summary      {workdir / SUMMARY}")
    return result


def _check_schedules(workdir: AnyPath, seeds: tuple[int, ...], *, extends: bool) -> None:
    """Refuses a new seed next to runs that are longer than planned: its schedule would differ."""
    from resnet_jax.training.workdir.layout import Workdir

    runs = {seed: Workdir(workdir / f"seed{seed}") for seed in seeds}
    begun = {seed: run.read_config() for seed, run in runs.items() if run.config.is_file()}
    new = [seed for seed in seeds if seed not in begun]
    if new and (extends or any(config.schedule.extensions for config in begun.values())):
        raise ConfigError(
            f"{workdir} has no run of seed {new[0]}, whose schedule would differ from those that "
            f"are made longer: first train it as they were trained at first, with --seeds={new[0]} "
            "and without --extend, then all of them with --extend"
        )


def summarize(records: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Summarises the last records of runs.

    Args:
        records: By seed.

    Returns:
        For each loss and accuracy that every run has: its `values` in the order of the seeds,
        `mean`, `lowest`, `highest` and `standard_deviation`, which divides by n - 1 and is None
        for a single run. Also the `seeds`.
    """
    summary: dict[str, Any] = {"seeds": list(records)}
    for name in next(iter(records.values()), {}):
        values = [record.get(name) for record in records.values()]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if not name.endswith(_SUMMARIZED) or len(numbers) < len(values):
            continue
        summary[name] = {
            "values": numbers,
            "mean": statistics.fmean(numbers),
            "standard_deviation": statistics.stdev(numbers) if len(numbers) > 1 else None,
            "lowest": min(numbers),
            "highest": max(numbers),
        }
    return summary


def _sentence(name: str, found: Mapping[str, Any], seeds: tuple[int, ...]) -> str:
    spread = found["standard_deviation"]
    deviation = "" if spread is None else f", standard deviation {100 * spread:.2f} points"
    return (
        f"{name.replace('_', ' ')} over {counted(len(seeds), 'seed')}: mean {found['mean']:.2%}"
        f"{deviation}, {found['lowest']:.2%} to {found['highest']:.2%}"
    )

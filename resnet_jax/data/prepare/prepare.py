"""Folders and zip archives of images to prepared TFDS datasets (array_record), without TensorFlow.

The files pass through as they are: only their headers are decoded. The dataset is written part by
part, each part under its final name only when it is whole, so that an interrupted preparation
continues, and the parts can be shared out among machines.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from resnet_jax.data.config import DataConfig
from resnet_jax.data.prepare.shards import (
    EXAMPLES_PER_PART,
    VERSION,
    Part,
    join_parts,
    plan_parts,
    report_path,
    write_part,
)
from resnet_jax.data.source_names import FILE_FORMS, source_kind
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.digits import default_data_dir, prepare_digits
from resnet_jax.data.sources.files import Files
from resnet_jax.data.sources.folders import open_layout
from resnet_jax.data.sources.layouts.layout import Layout
from resnet_jax.data.sources.tfds_sets import find_prepared
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path
from resnet_jax.whole_files import write_text

Progress = Callable[[int, int], None]
"""Is told the number of files that are done and the number of all."""


def prepare(
    source: str,
    *,
    name: str | None = None,
    data_dir: str | Path | None = None,
    shard: str | None = None,
    workers: int = 8,
    bad_examples: BadExamples | None = None,
    progress: Progress | None = None,
) -> Path | None:
    """Prepares a dataset.

    Args:
        source: `folder:PATH`, `zip:PATH`, `csv:PATH`, `digits`, or a name of the TFDS catalogue,
            which is downloaded and needs TensorFlow.
        name: Name of the dataset; None for that of the folder, archive or table.
        data_dir: Folder of prepared datasets; None for the one in the user's cache.
        shard: `I/N`, I from 1 to N: writes only every N-th part, and joins nothing. A last call
            without it joins the parts that all N calls wrote, and writes what is missing.
        workers: Threads that read and write.
        bad_examples: Takes the files that are skipped; None stops at the first.
        progress: Is told how far it is.

    Returns:
        The folder of the dataset, which `data.name=NAME` then finds; None with `shard`.

    Raises:
        ConfigError: The dataset exists, the files have changed since an interrupted call, a file is
            bad, or the source is a dataset that has to be prepared in another way.
    """
    DataConfig(name=source)  # refuses what is no name
    if workers < 1:
        raise ConfigError(f"workers={workers} can write nothing; give 1 or more")
    kind = source_kind(source)
    if kind is None or kind.files is None:
        _refuse_options(source, {"name": name, "shard": shard, "skip-bad": bad_examples})
        if source == "digits":
            return prepare_digits(data_dir or default_data_dir())
        return _prepare_of_catalogue(source, data_dir)
    name = _set_name(name or local_path(source.partition(":")[2]).resolve().stem)
    root = local_path(data_dir) if data_dir else default_data_dir()
    target, scratch = root / name / VERSION, root / name / f"incomplete.{VERSION}"
    if target.exists():
        raise ConfigError(
            f"{target} exists already and is not overwritten; use it with data.name={name}, remove "
            "it, or give another name"
        )
    files, layout = open_layout(source, bad_examples=bad_examples)
    parts = plan_parts(layout)
    _check_plan(scratch, layout)
    chosen = parts if shard is None else _share(parts, shard)
    _write_parts(files, name, scratch, chosen, workers, bad_examples, progress)
    if shard is not None:
        return None
    join_parts(name, scratch, layout, parts)
    (scratch / "plan.json").unlink()
    scratch.rename(target)
    return target


def _refuse_options(source: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise ConfigError(
                f"--{option} is for {', '.join(FILE_FORMS[:-1])} and {FILE_FORMS[-1]}; leave it "
                f"out for {source}"
            )


def _prepare_of_catalogue(name: str, data_dir: str | Path | None) -> Path:
    if source_kind(name) is not None:
        raise ConfigError(f"{name} needs no preparation; train with --config.data.name={name}")
    try:
        return find_prepared(name, data_dir=data_dir)
    except ConfigError:  # it says with which commands
        if importlib.util.find_spec("tensorflow") is None:
            raise
    import tensorflow_datasets as tfds

    root = local_path(data_dir) if data_dir else default_data_dir()
    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError:
        return find_prepared(name, data_dir=data_dir)
    builder.download_and_prepare()
    return Path(builder.data_path)


def _write_parts(
    files: Files,
    name: str,
    scratch: Path,
    parts: list[Part],
    workers: int,
    bad_examples: BadExamples | None,
    progress: Progress | None,
) -> None:
    total, done = sum(len(part.entries) for part in parts), 0
    waiting = [part for part in parts if not report_path(scratch, name, part).is_file()]
    done = total - sum(len(part.entries) for part in waiting)
    if progress:
        progress(done, total)
    with ThreadPoolExecutor(workers) as pool:
        jobs = {
            pool.submit(write_part, files, name, scratch, part, bad_examples): part
            for part in waiting
        }
        try:
            for job in as_completed(jobs):
                job.result()
                done += len(jobs[job].entries)
                if progress:
                    progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _share(parts: list[Part], shard: str) -> list[Part]:
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"--shard={shard} cannot be read; write I/N with I from 1 to N, as 3/8")
    return parts[index - 1 :: count]


def _check_plan(scratch: Path, layout: Layout) -> None:
    """Refuses to continue with files or classes other than those of the call before."""
    content = json.dumps([layout.class_names, layout.splits, EXAMPLES_PER_PART])
    plan = json.dumps({"layout": hashlib.sha256(content.encode()).hexdigest()})
    path = scratch / "plan.json"
    if path.is_file():
        if path.read_text() != plan:
            raise ConfigError(
                f"{scratch} holds the parts of an interrupted preparation of other files; remove "
                "it, or give another name"
            )
        return
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        write_text(path, plan)
    except OSError as error:
        raise ConfigError(
            f"{scratch} cannot be written ({error.strerror}); set --data-dir to a folder that can"
        ) from error


def _set_name(name: str) -> str:
    clean = re.sub(r"\W+", "_", name).strip("_").lower()
    if not re.fullmatch(r"[a-z]\w{,99}", clean, re.ASCII):
        raise ConfigError(
            f"name={name!r} is not a name for a dataset; set --name: a letter, then letters, "
            "digits and _ (at most 100)"
        )
    if clean == "digits":
        raise ConfigError("name='digits' is that of the embedded dataset; set --name to another")
    return clean

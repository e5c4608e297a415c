"""Folders and zip archives of images to prepared TFDS datasets (array_record), without TensorFlow.

The files pass through as they are: only their headers are decoded. The dataset is written part by
part, each part under its final name only when it is whole, so that an interrupted preparation
continues, and the parts can be shared out among machines.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.data.config import DataConfig
from resnet_jax.data.labels import alike_notes
from resnet_jax.data.prepare.shards import (
    EXAMPLES_PER_PART,
    VERSION,
    Part,
    join_parts,
    plan_parts,
    report_path,
    write_part,
)
from resnet_jax.data.prepare.upload import upload_dataset
from resnet_jax.data.source_names import FILE_FORMS, source_kind
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.digits import default_data_dir, prepare_digits
from resnet_jax.data.sources.files import FileCache, Files
from resnet_jax.data.sources.folders import open_layout
from resnet_jax.data.sources.layouts.layout import Layout
from resnet_jax.data.sources.tfds_sets import find_prepared
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_cache, user_path
from resnet_jax.whole_files import write_text

_logger = logging.getLogger(__name__)

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
) -> AnyPath | None:
    """Prepares a dataset.

    Args:
        source: `folder:PATH`, `zip:PATH`, `csv:PATH`, `digits`, or a name of the TFDS catalogue,
            which is downloaded and needs TensorFlow.
        name: Name of the dataset; None for that of the folder, archive or table.
        data_dir: Folder of prepared datasets; None for the one in the user's cache. If it lies in a
            bucket, the dataset is prepared in the one in the user's cache and copied.
        shard: `I/N`, I from 1 to N: writes only every N-th part, and joins nothing. A last call
            without it joins the parts that all N calls wrote, and writes what is missing.
        workers: Threads that read and write.
        bad_examples: Takes the files that are skipped; None stops at the first.
        progress: Is told how far it is.

    The logger `resnet_jax` says, at level INFO, what was inferred from the files and left out.

    Returns:
        The folder of the dataset, which `data.name=NAME` then finds; None with `shard`.

    Raises:
        ConfigError: The dataset exists, the files have changed since an interrupted call, a file is
            bad, or the source is a dataset that has to be prepared in another way.
    """
    DataConfig(name=source)  # refuses what is no name
    if workers < 1:
        raise ConfigError(f"workers={workers} can write nothing; give 1 or more")
    options = _Options(name, shard, workers, bad_examples, progress)
    root = None if data_dir is None else user_path(data_dir)
    if isinstance(root, BucketPath):
        return _prepare_in_bucket(source, root, options)
    return _prepare(source, root, options)


@dataclasses.dataclass(frozen=True)
class _Options:
    """What `prepare` was asked for, as there."""

    name: str | None
    shard: str | None
    workers: int
    bad_examples: BadExamples | None
    progress: Progress | None


def _prepare_in_bucket(source: str, root: BucketPath, options: _Options) -> BucketPath:
    """Prepares a dataset on this machine, and copies it; a call that was interrupted goes on."""
    if options.shard is not None:
        raise ConfigError(
            f"--shard={options.shard}: the machines have to share a folder, and {root} is in a "
            "bucket; prepare on one machine, or in a shared folder that you copy afterwards"
        )
    key = hashlib.sha256(f"{source} {options.name} {root}".encode()).hexdigest()[:16]
    folder = user_cache() / "uploads" / key
    made: Path | None = None
    kind = source_kind(source)
    if kind is not None and kind.files is not None:
        name = _name_of(source, options)
        _refuse_present(root / name / VERSION)
        made = folder / name / VERSION
    if made is None or not made.exists():
        made = _prepare(source, folder, options)
    assert made is not None
    target = root / made.relative_to(folder)
    upload_dataset(made, target)
    shutil.rmtree(folder)
    return target


def _prepare(source: str, data_dir: Path | None, options: _Options) -> Path | None:
    """Prepares a dataset in a folder on this machine."""
    kind = source_kind(source)
    root = data_dir or default_data_dir()
    if kind is None or kind.files is None:
        unused = {"name": options.name, "shard": options.shard, "skip-bad": options.bad_examples}
        _refuse_options(source, unused)
        return prepare_digits(root) if source == "digits" else _prepare_tfds(source, data_dir)
    name = _name_of(source, options)
    target, scratch = root / name / VERSION, root / name / f"incomplete.{VERSION}"
    _refuse_present(target)
    files, layout = open_layout(source, bad_examples=options.bad_examples, cache=FileCache())
    for note in (*layout.notes, *alike_notes(layout.class_names)):
        _logger.info(note)
    parts = plan_parts(layout)
    _check_plan(scratch, layout)
    chosen = parts if options.shard is None else _share(parts, options.shard)
    _write_parts(files, name, scratch, chosen, options)
    if options.shard is not None:
        return None
    join_parts(name, scratch, layout, parts)
    (scratch / "plan.json").unlink()
    scratch.rename(target)
    return target


def _name_of(source: str, options: _Options) -> str:
    return _set_name(options.name or user_path(source.partition(":")[2]).resolve().stem)


def _refuse_present(target: AnyPath) -> None:
    if target.exists():
        raise ConfigError(
            f"{target} exists already and is not overwritten; use it with "
            f"data.name={target.parent.name}, remove it, or give another name"
        )


def _refuse_options(source: str, options: Mapping[str, object]) -> None:
    for option, value in options.items():
        if value is not None:
            raise ConfigError(
                f"--{option} is for {', '.join(FILE_FORMS[:-1])} and {FILE_FORMS[-1]}; leave it "
                f"out for {source}"
            )


def _prepare_tfds(name: str, data_dir: Path | None) -> Path:
    if source_kind(name) is not None:
        raise ConfigError(f"{name} needs no preparation; train with --config.data.name={name}")
    try:
        return _found(name, data_dir)
    except ConfigError:  # it says with which commands
        if importlib.util.find_spec("tensorflow") is None:
            raise
    import tensorflow_datasets as tfds

    root = data_dir or default_data_dir()
    try:
        builder = tfds.builder(name, data_dir=root, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError:
        return _found(name, data_dir)
    builder.download_and_prepare()
    return Path(builder.data_path)


def _found(name: str, data_dir: Path | None) -> Path:
    folder = find_prepared(name, data_dir=data_dir)
    assert isinstance(folder, Path)
    return folder


def _write_parts(
    files: Files,
    name: str,
    scratch: Path,
    parts: list[Part],
    options: _Options,
) -> None:
    progress = options.progress
    total, done = sum(len(part.entries) for part in parts), 0
    waiting = [part for part in parts if not report_path(scratch, name, part).is_file()]
    done = total - sum(len(part.entries) for part in waiting)
    if progress:
        progress(done, total)
    with ThreadPoolExecutor(options.workers) as pool:
        jobs = {
            pool.submit(write_part, files, name, scratch, part, options.bad_examples): part
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

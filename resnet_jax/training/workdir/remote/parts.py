"""The parts of a checkpoint that several processes write without a shared disk.

Orbax lets each process write the arrays, or slices of arrays, that it holds, into a folder that it
takes to be shared. Here each process has a folder of its own: together, their files are the
checkpoint. The first process names it when it is complete; the others find their files under the
name that Orbax gives to what is not complete yet.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

from resnet_jax.buckets import BucketPath
from resnet_jax.training.workdir.digests import digest
from resnet_jax.whole_files import write_text

FOLDER = "parts"
_UNFINISHED = ".orbax-checkpoint-tmp"


def collect_part(checkpoints: pathlib.Path, step: int, *, saving: Any) -> None:
    """Moves what this process writes of a checkpoint into the folder of parts, with its digest.

    Args:
        checkpoints: The local folder of checkpoints of a process that is not the first.
        step: The number of the checkpoint.
        saving: What Orbax answered; its `result()` waits until all processes have written.
    """
    try:
        saving.result()
    except Exception:
        return  # the next save raises it, explained
    part = checkpoints.parent / FOLDER / str(step)
    part.mkdir(parents=True, exist_ok=True)
    written = checkpoints / f"{step}{_UNFINISHED}"
    for file in sorted(written.rglob("*")):
        if file.is_file():
            target = part / str(file.relative_to(written)).replace(_UNFINISHED, "")
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
    shutil.rmtree(written, ignore_errors=True)
    write_text(part.with_suffix(".json"), json.dumps(digest(part)))


def part_marker(root: BucketPath, step: int, process: int) -> BucketPath:
    """Names the object that says that a process has uploaded its part: the digest of the part."""
    return root / FOLDER / f"{step}-{process}.json"


def other_parts(root: BucketPath, step: int, *, processes: int) -> dict[str, str] | None:
    """Reads the digests of the parts of all processes but the first.

    Args:
        root: The folder of the run in the bucket.
        step: The number of the checkpoint.
        processes: How many processes the run has.

    Returns:
        The hash of each file by its name; None if a part is not there yet.
    """
    files: dict[str, str] = {}
    for process in range(1, processes):
        try:
            files |= json.loads(part_marker(root, step, process).read_bytes())
        except FileNotFoundError:
            return None
    return files

"""Finds what changed in the copy of a run, and uploads it in an order that survives a crash.

1. The digest of a checkpoint that is written anew is removed: the old one no longer exists.
2. New and changed files are uploaded, among them the records.
3. The digests of new checkpoints follow: now they exist.
4. What is no longer in the copy is removed; a checkpoint only after a newer one exists.

So a crash at any moment leaves the last complete checkpoint, with the records up to it at least.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping

import jax

from resnet_jax.buckets import BucketPath, remove_files, upload_files
from resnet_jax.training.workdir.digests import complete_steps, marker_name, step_of
from resnet_jax.training.workdir.layout import REPLACED
from resnet_jax.training.workdir.remote import parts

_LOCAL = ("running.lock", "running.json", parts.FOLDER)
_UNFINISHED = ".orbax-checkpoint-tmp"

Stamp = tuple[int, int]


class RunChanges:
    """The changes of a whole run, which its first process uploads.

    Args:
        address: The folder of the run in the bucket.
        root: The copy, as it was downloaded.
        known: The names of the objects in the bucket.
        check: Called before a checkpoint is completed; raises if this process lost the folder.
    """

    def __init__(
        self,
        address: BucketPath,
        root: pathlib.Path,
        *,
        known: set[str],
        check: Callable[[], None],
    ) -> None:
        self._address = address
        self._root = root
        self._check = check
        self._known = set(known)
        self._sent = {name: stamp for name, stamp in self._scan().items() if name in known}

    def remove_remains(self) -> None:
        """Removes what a process left of checkpoints that it did not complete."""
        steps = complete_steps(self._known)
        self._remove(
            name
            for name in self._known
            if name.startswith(f"{parts.FOLDER}/") or step_of(name) not in (None, *steps)
        )

    def upload(self) -> bool:
        """Makes the bucket equal to the copy.

        Returns:
            Whether it is; False if parts of a checkpoint that other processes write are missing.

        Raises:
            CheckpointError: Another process took the folder.
            OSError: The bucket cannot be written now; call it again later.
        """
        now = self._scan()
        changed = {name for name in now if self._sent.get(name) != now[name]}
        digests = {name for name in changed if name == marker_name(step_of(name))}
        self._remove({marker_name(step_of(name)) for name in changed} & self._known)
        self._send(changed - digests, now)
        complete = [self._complete(name, now[name]) for name in sorted(digests)]
        self._remove_gone(now)
        return all(complete)

    def _scan(self) -> dict[str, Stamp]:
        """Lists the files of the copy that belong into the bucket, with size and time."""
        found = _stamps(self._root)
        steps = complete_steps(found)
        return {
            name: stamp
            for name, stamp in found.items()
            if name.split("/")[0] not in _LOCAL
            and not any(_is_passing(part) for part in name.split("/"))
            and step_of(name) in (None, *steps)
        }

    def _send(self, names: Iterable[str], stamps: Mapping[str, Stamp]) -> None:
        names = sorted(names)
        upload_files({self._address / name: self._root / name for name in names})
        self._known.update(names)
        self._sent.update({name: stamps[name] for name in names})

    def _complete(self, digest: str, stamp: Stamp) -> bool:
        """Uploads the digest of a checkpoint; False if parts of the checkpoint are missing."""
        try:
            files = json.loads((self._root / digest).read_bytes())
        except FileNotFoundError:
            return True  # a newer checkpoint took its place meanwhile
        step, processes = step_of(digest), jax.process_count()
        assert step is not None
        others = parts.other_parts(self._address, step, processes=processes)
        if others is None:
            return False
        whole = {f"checkpoints/{step}/{name}" for name in files | others}
        self._known |= whole
        # Left of an earlier checkpoint of this number, which was set aside.
        self._remove({name for name in self._known if step_of(name) == step} - whole)
        self._check()
        (self._address / digest).write_text(json.dumps(files | others, indent=0))
        self._known.add(digest)
        self._sent[digest] = stamp
        remove_files(
            parts.part_marker(self._address, step, process) for process in range(1, processes)
        )
        return True

    def _remove_gone(self, now: Mapping[str, Stamp]) -> None:
        """Removes what is no longer in the copy."""
        newest = max(complete_steps(self._known), default=0)
        broken = {
            name.split("/")[1].split("-")[1]
            for name in now
            if name.startswith("checkpoints/broken-")
        }
        gone = {name for name in self._sent if name not in now and step_of(name) is None}
        for name in self._known:
            step = step_of(name)
            if step is None or (self._root / "checkpoints" / str(step)).is_dir():
                continue
            if step < newest or str(step) in broken:
                gone.add(name)
        # Without its digest, a checkpoint does not exist.
        self._remove({name for name in gone if name == marker_name(step_of(name))})
        self._remove(gone & self._known)
        for name in gone:
            self._sent.pop(name, None)

    def _remove(self, names: Iterable[str]) -> None:
        names = list(names)
        remove_files(self._address / name for name in names)
        self._known.difference_update(names)


class PartChanges:
    """The parts of checkpoints that another process than the first uploads.

    Args:
        address: The folder of the run in the bucket.
        root: The copy of this process.
    """

    def __init__(self, address: BucketPath, root: pathlib.Path) -> None:
        self._address = address
        self._folder = root / parts.FOLDER

    def upload(self) -> bool:
        """Uploads and removes the parts that are complete.

        Raises:
            OSError: The bucket cannot be written now; call it again later.
        """
        for digest in sorted(self._folder.glob("*.json")):
            step = int(digest.stem)
            part = self._folder / str(step)
            target = self._address / "checkpoints" / str(step)
            upload_files({target / name: part / name for name in _stamps(part)})
            marker = parts.part_marker(self._address, step, jax.process_index())
            marker.write_bytes(digest.read_bytes())
            digest.unlink()
            shutil.rmtree(part)
        return True


def _is_passing(part: str) -> bool:
    """Whether a file or folder of this name is there for a moment only."""
    return part.startswith((".", REPLACED)) or _UNFINISHED in part


def _stamps(folder: pathlib.Path) -> dict[str, Stamp]:
    found = {}
    for parent, _, names in os.walk(folder):  # which passes over folders that are removed meanwhile
        for name in names:
            file = pathlib.Path(parent, name)
            try:
                status = file.stat()
            except FileNotFoundError:
                continue
            found[file.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found

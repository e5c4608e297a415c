"""Image files with labels: on disk or in a zip archive, by their folders or by a table."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Sequence

from resnet_jax.data.images.record import Label, Record
from resnet_jax.data.source_names import source_kind
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.files import FileCache, Files
from resnet_jax.data.sources.label_arrays import Labels, stack_labels
from resnet_jax.data.sources.layouts.layout import Layout
from resnet_jax.data.sources.splits import select_split


class FileSource(Source):
    """Labelled image files.

    Args:
        files: Where the files lie.
        entries: Names of files with their labels.
        class_names: The name of each label.
        is_multi_label: Whether a file may have several labels, or none.
        channels: 1 or 3, to which the images are converted.
        bad_examples: Takes the examples that are skipped; None stops at the first.
    """

    def __init__(
        self,
        files: Files,
        entries: Sequence[tuple[str, Label]],
        class_names: tuple[str, ...],
        *,
        is_multi_label: bool = False,
        channels: int = 3,
        bad_examples: BadExamples | None = None,
    ) -> None:
        self._files = files
        self._entries = entries
        self.class_names = class_names
        self.is_multi_label = is_multi_label
        self.channels = channels
        self.image_shape = None
        self.bad_examples = bad_examples

    def __len__(self) -> int:
        return len(self._entries)

    def expect(self, indices: Iterable[int]) -> None:
        """Begins to fetch files that will soon be read."""
        self._files.expect(self._entries[index][0] for index in indices)

    def record(self, index: int) -> Record:
        """Reads the file at `index`."""
        name, label = self._entries[index]
        return Record(self._files.read(name), label)

    def stored_labels(self) -> Labels:
        """Gives the labels of all files."""
        return stack_labels((label for _, label in self._entries), len(self.class_names))

    def name(self, index: int) -> str:
        """Gives the path of the file at `index`."""
        return f"{self._files.origin}/{self._entries[index][0]}"


def open_layout(
    name: str, *, bad_examples: BadExamples | None, cache: FileCache
) -> tuple[Files, Layout]:
    """Opens the files of a source, and reads their splits and classes.

    Args:
        name: One of `resnet_jax.data.source_names.FILE_FORMS`, such as `folder:PATH`.
        bad_examples: Takes the files and classes that are skipped; None stops at the first.
        cache: Keeps what is read from a bucket.
    """
    kind = source_kind(name)
    assert kind is not None
    assert kind.files is not None
    files: Files = pkgutil.resolve_name(kind.files)(name.partition(":")[2], cache=cache)
    layout: Layout = pkgutil.resolve_name(kind.layout)(files, bad_examples=bad_examples)
    return files, layout


def open_file_split(
    name: str,
    split: str,
    *,
    channels: int | None,
    bad_examples: BadExamples | None,
    cache: FileCache,
) -> FileSource:
    """Opens one split of labelled files.

    Args:
        name: One of `resnet_jax.data.source_names.FILE_FORMS`, such as `folder:PATH`.
        split: A split in TFDS syntax.
        channels: 1 or 3; None for 3.
        bad_examples: Takes the examples that are skipped; None stops at the first.
        cache: Keeps what is read from a bucket.
    """
    files, layout = open_layout(name, bad_examples=bad_examples, cache=cache)
    entries = select_split(layout.splits, split, origin=files.origin)
    source = FileSource(
        files,
        entries,
        layout.class_names,
        is_multi_label=layout.is_multi_label,
        channels=channels or 3,
        bad_examples=bad_examples,
    )
    source.notes = layout.notes
    return source

"""The array_record files of a dataset in preparation, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.decode import image_size
from resnet_jax.data.images.record import Label
from resnet_jax.data.sources.bad_examples import REMEDY, BadExamples
from resnet_jax.data.sources.files import Files
from resnet_jax.data.sources.layouts.layout import Layout
from resnet_jax.errors import ConfigError
from resnet_jax.plain_json import json_text
from resnet_jax.whole_files import replacing, write_text

VERSION = "1.0.0"
EXAMPLES_PER_PART = 4096

Shape = tuple[int | None, int | None]
_ANY_SHAPE: Shape = (None, None)


@dataclass(frozen=True)
class Part:
    """One array_record file of a split.

    Attributes:
        split: The split.
        number: From 0.
        count: Parts of the split.
        entries: The files with their labels.
    """

    split: str
    number: int
    count: int
    entries: Sequence[tuple[str, Label]]

    def file_name(self, name: str) -> str:
        """The name under which TFDS finds the part."""
        return f"{name}-{self.split}.array_record-{self.number:05}-of-{self.count:05}"


@dataclass(frozen=True)
class PartReport:
    """What was written to a part: examples, bytes, and height and width where all agree."""

    examples: int
    bytes: int
    shape: tuple[int, int] | None


def plan_parts(layout: Layout) -> list[Part]:
    """Cuts the splits into parts of about the same size."""
    parts = []
    for split, entries in layout.splits.items():
        count = -(-len(entries) // EXAMPLES_PER_PART)
        size = -(-len(entries) // count)
        parts += [
            Part(split, number, count, entries[number * size : (number + 1) * size])
            for number in range(count)
        ]
    return parts


def write_part(
    files: Files, name: str, scratch: Path, part: Part, bad_examples: BadExamples | None
) -> None:
    """Writes a part and, last of all, its report: where that is, the part is whole."""
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module

    several = any(isinstance(label, tuple) for _, label in part.entries[:1])
    serializer = tfds.core.example_serializer.ExampleSerializer(
        _features(_ANY_SHAPE, ("",), is_multi_label=several).get_serialized_info()
    )
    path = scratch / part.file_name(name)
    examples, size, shapes = 0, 0, set()
    try:
        with replacing(path) as unfinished:
            writer = array_record_module.ArrayRecordWriter(str(unfinished), "group_size:1")
            for member, image, label in _readable(files, part, bad_examples):
                shapes.add(image_size(image))
                file = member.encode(errors="surrogateescape")
                record = serializer.serialize_example(
                    {"image": image, "label": label, "file": file}
                )
                writer.write(record)
                examples, size = examples + 1, size + len(record)
            writer.close()
    except RuntimeError as error:  # of the writer
        raise ConfigError(
            f"{scratch} cannot be written: {error}; fix that and call again, to continue from here"
        ) from error
    report = PartReport(examples, size, shapes.pop() if len(shapes) == 1 else None)
    write_text(report_path(scratch, name, part), json_text(asdict(report)))


def _readable(
    files: Files, part: Part, bad_examples: BadExamples | None
) -> Iterator[tuple[str, bytes, Label]]:
    for member, label in part.entries:
        try:
            image = files.read(member)
            image_size(image)
        except BadImageError as error:
            full_name = f"{files.origin}/{member}"
            if bad_examples is None:
                raise BadImageError(f"{full_name}: {error}; {REMEDY}") from error
            bad_examples.add(full_name, str(error))
        else:
            yield member, image, label


def join_parts(name: str, scratch: Path, layout: Layout, parts: list[Part]) -> None:
    """Writes the description of the dataset next to its parts, and removes all but these.

    Raises:
        ConfigError: A split has no examples.
    """
    import tensorflow_datasets as tfds

    paths = [report_path(scratch, name, part) for part in parts]
    reports = [PartReport(**json.loads(path.read_text())) for path in paths]
    shapes = {(report.shape[0], report.shape[1]) if report.shape else None for report in reports}
    shape = shapes.pop() if len(shapes) == 1 else None
    written = list(zip(parts, reports, strict=True))
    for split in layout.splits:
        if not any(report.examples for part, report in written if part.split == split):
            raise ConfigError(f"no file of the split {split!r} can be read; fix the files")
    template = tfds.core.ShardedFileTemplate(
        data_dir=scratch, dataset_name=name, filetype_suffix="array_record"
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[report.examples for part, report in written if part.split == split],
            num_bytes=sum(report.bytes for part, report in written if part.split == split),
            filename_template=template,
        )
        for split in layout.splits
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=scratch,
        features=_features(
            shape or _ANY_SHAPE, layout.class_names, is_multi_label=layout.is_multi_label
        ),
        split_infos=splits,
        version=VERSION,
        check_data=False,
        supervised_keys=("image", "label"),
        disable_shuffling=True,
    )
    for path in scratch.glob(f".{name}-*"):  # reports, and what calls that were killed left
        path.unlink()


def _features(shape: Shape, class_names: tuple[str, ...], *, is_multi_label: bool) -> Any:
    import tensorflow_datasets as tfds

    label = tfds.features.ClassLabel(names=list(class_names))
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(*shape, 3)),
            "label": tfds.features.Sequence(label) if is_multi_label else label,
            "file": tfds.features.Text(),
        }
    )


def report_path(scratch: Path, name: str, part: Part) -> Path:
    """Where the report of a part lies until the parts are joined."""
    return scratch / f".{part.file_name(name)}.json"

"""Image classification datasets of Hugging Face: from the Hub, saved to disk, or a folder of files.

Needs the extra `hf`. Images stay encoded until they are read, as everywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import Label, Record
from resnet_jax.data.sources.bad_examples import BadExamples
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.label_arrays import Labels, stack_labels
from resnet_jax.data.sources.splits import name_splits, select_split
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path


class HuggingFaceSource(Source):
    """One split.

    Args:
        tables: The dataset's own splits.
        split: A split in TFDS syntax; a part is cut after a shuffle with a fixed seed.
        origin: The name of the dataset, for messages.
        channels: 1 or 3, to which the images are converted.

    Raises:
        ConfigError: There is no such split, or the dataset has not exactly one image and
            one label.
    """

    def __init__(
        self, tables: Mapping[str, Any], split: str, *, origin: str, channels: int = 3
    ) -> None:
        self._origin = f"{origin} {split}"
        self._image_key, self._label_key = _image_and_label(tables, origin)
        self._parts = [self._undecoded(table) for table in tables.values()]
        self._ends = np.cumsum([len(part) for part in self._parts])
        starts = (0, *self._ends[:-1])
        ranges = {
            name: range(start, end)
            for name, start, end in zip(tables, starts, self._ends, strict=True)
        }
        self._rows = np.array(select_split(ranges, split, origin=origin, seed=0), dtype=np.int64)
        found = np.searchsorted(self._ends, self._rows, side="right")
        named = list(tables)
        used = {named[part]: tables[named[part]] for part in np.unique(found)} or dict(tables)
        self.class_names, self._labels = _classes(tables, used, self._label_key)
        table = next(iter(tables.values()))
        self.is_multi_label = _inner(table.features[self._label_key]) is not None
        self.channels = channels
        self.image_shape = None

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, index: int) -> Record:
        """Reads the row at `index`; its image is the content of an image file."""
        row = int(self._rows[index])
        part = int(np.searchsorted(self._ends, row, side="right"))
        values = self._parts[part][row - (int(self._ends[part - 1]) if part else 0)]
        return Record(_content(values[self._image_key]), self._label(part, values[self._label_key]))

    def _label(self, part: int, value: Any) -> Label:
        known = self._labels[part]
        if self.is_multi_label:
            return tuple(known.get(one, -1) for one in value or ())
        return known.get(value, -1)

    def stored_labels(self) -> Labels:
        """Gives the labels of all rows."""
        known = (
            self._label(part, value)
            for part, table in enumerate(self._parts)
            for value in table.select_columns([self._label_key]).to_dict()[self._label_key]
        )
        return stack_labels(known, len(self.class_names))[self._rows]

    def name(self, index: int) -> str:
        """Names the dataset, the split and the row."""
        return f"{self._origin}, example {index}"

    def _undecoded(self, table: Any) -> Any:
        import datasets

        kept = table.select_columns([self._image_key, self._label_key])
        return kept.cast_column(self._image_key, datasets.Image(decode=False))


def open_hugging_face_split(
    name: str, split: str, *, channels: int | None, bad_examples: BadExamples | None
) -> HuggingFaceSource:
    """Opens one split of `hf:NAME`.

    Args:
        name: `hf:` before the name of a dataset on the Hub (`org/set`, with a configuration
            `org/set:config`), before a folder that `save_to_disk` wrote, or before a folder of
            files that `datasets.load_dataset` can read, such as parquet.
        split: A split in TFDS syntax.
        channels: 1 or 3; None for 3.
        bad_examples: Takes the examples that are skipped; None stops at the first.

    Raises:
        ConfigError: The extra is missing, or there is no such dataset or split.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"data.name={name!r} needs the package datasets: pip install 'resnet-jax[hf]'"
        ) from error
    place = name.partition(":")[2]
    try:
        tables = _load(datasets, place)
    except Exception as error:  # of the Hub's client, of the network, of a reader of files
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"data.name={name!r} cannot be opened: {reason}; give the name of a dataset on the "
            "Hub, or the path of a folder that save_to_disk wrote or that holds parquet files"
        ) from error
    source = HuggingFaceSource(tables, split, origin=name, channels=channels or 3)
    source.bad_examples = bad_examples
    return source


def _load(datasets: Any, place: str) -> dict[str, Any]:
    folder = local_path(place)
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        loaded = datasets.load_from_disk(str(folder))
    elif folder.is_dir():
        loaded = datasets.load_dataset(str(folder))
    else:
        path, _, config = place.partition(":")
        loaded = datasets.load_dataset(path, config or None)
    tables = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}
    splits = name_splits(map(str, tables), origin=f"hf:{place}")
    return {splits[str(name)]: table for name, table in tables.items()}


def _image_and_label(tables: Mapping[str, Any], origin: str) -> tuple[str, str]:
    import datasets

    features = next(iter(tables.values())).features
    images = [key for key, value in features.items() if isinstance(value, datasets.Image)]
    kinds = {key: _inner(value) or value for key, value in features.items()}
    labels = [key for key, value in kinds.items() if isinstance(value, datasets.ClassLabel)]
    if not labels:
        labels = [key for key in ("label", "labels", "class") if key in features]
    if len(images) != 1 or len(labels) != 1:
        raise ConfigError(
            f"data.name={origin!r} has {len(images)} image and {len(labels)} label columns among "
            f"{', '.join(features)}; only datasets with one of each can be read"
        )
    return images[0], labels[0]


def _inner(feature: Any) -> Any:
    """Returns the kind of the members of a list; None for other features."""
    return getattr(feature, "feature", None)


def _classes(
    tables: Mapping[str, Any], used: Mapping[str, Any], key: str
) -> tuple[tuple[str, ...], list[dict[Any, int]]]:
    """Names the classes of a split, and maps the values of each table to them.

    Each table has names of its own, which may be in another order than those of the next one. Those
    of the first table of the split become the classes. Where labels have no names, their values in
    all tables do.
    """
    kinds = {name: table.features[key] for name, table in tables.items()}
    are_lists = any(map(_inner, kinds.values()))
    own = {name: getattr(_inner(kind) or kind, "names", None) for name, kind in kinds.items()}
    classes = own[next(iter(used))]
    if classes is None or not all(own.values()):
        values = sorted(_values(tables, key, are_lists) - {None})
        places = {value: place for place, value in enumerate(values)}
        return tuple(map(str, values)), [places] * len(own)
    maps = []
    for name, names in own.items():
        place_of = {text: place for place, text in enumerate(classes)}
        odd = [text for text in names or () if text not in place_of]
        if odd and name in used:
            raise ConfigError(
                f"the splits {', '.join(used)} have other classes: {name} has {odd[0]!r}, which "
                f"{next(iter(used))} lacks; give one split"
            )
        maps.append({label: place_of.get(text, -1) for label, text in enumerate(names or ())})
    return tuple(classes), maps


def _values(tables: Mapping[str, Any], key: str, are_lists: bool) -> set[Any]:
    """Collects the values of a column, and those in its lists."""
    if are_lists:
        columns = (table.select_columns([key]).to_dict()[key] for table in tables.values())
        return {value for column in columns for values in column for value in values or ()}
    return {value for table in tables.values() for value in table.unique(key)}


def _content(image: Mapping[str, Any] | None) -> bytes:
    """Gives the file of an image, which lies in the table or next to it."""
    content = (image or {}).get("bytes")
    if content:
        return bytes(content)
    path = (image or {}).get("path")
    if not path:
        raise BadImageError("the image is missing")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadImageError(f"the file {path} cannot be read: {error.strerror}") from error

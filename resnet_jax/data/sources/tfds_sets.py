"""TFDS datasets that were prepared as array_record, read without TensorFlow."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

from resnet_jax.buckets import AnyPath, BucketPath
from resnet_jax.data.images.bad_image import BadImageError
from resnet_jax.data.images.record import Record
from resnet_jax.data.source_names import ADVICE
from resnet_jax.data.sources.digits import default_data_dir, prepare_digits
from resnet_jax.data.sources.examples import Source
from resnet_jax.data.sources.files import FileCache
from resnet_jax.data.sources.files.mirror import mirror
from resnet_jax.data.sources.splits import MissingSplitError
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.local_paths import user_path

_INFO = "dataset_info.json"
_SHARD = re.compile(r"-(\w+)\.array_record-\d+-of-\d+$")


class TfdsSource(Source):
    """One split of a prepared dataset.

    Args:
        directory: The folder of the dataset's version, which holds `dataset_info.json`.
        split: A split in TFDS syntax.
        channels: 1 or 3 converts the images; None leaves them as the dataset has them.

    Raises:
        ConfigError: The dataset is in another file format, has no such split, or has not exactly
            one image and one label.
    """

    def __init__(self, directory: Path, split: str, *, channels: int | None = None) -> None:
        self._directory = directory
        self._split = split
        builder = self._builder
        if "array_record" not in str(builder.info.file_format.value):
            name, kind = directory.parent.name, builder.info.file_format.value
            raise ConfigError(
                f"{directory} is prepared as {kind}, which has no random access; remove it and "
                f"prepare it again: resnet-jax prepare {name}"
            )
        self._image_key, self._label_key = _image_and_label(builder)
        features = builder.info.features
        height, width, stored_channels = features[self._image_key].shape
        self.channels = channels or stored_channels or 3
        self.image_shape = (height, width, self.channels) if height and width else None
        label = features[self._label_key]
        self.is_multi_label = _is_sequence(label)
        label = label.feature if self.is_multi_label else label
        names = label.names if hasattr(label, "names") else None
        self.class_names = tuple(names or map(str, range(label.num_classes)))
        self._length = len(self._reader)

    def __len__(self) -> int:
        return self._length

    def record(self, index: int) -> Record:
        """Reads the example at `index`; its image is the content of an image file."""
        try:
            example = self._reader[index]
        except RuntimeError as error:  # of the array_record reader
            reason = " ".join(str(error).split())
            raise BadImageError(
                f"the prepared dataset is damaged here, prepare it again: {reason}"
            ) from error
        label = example[self._label_key]
        several = tuple(map(int, label)) if self.is_multi_label else None
        return Record(example[self._image_key], int(label) if several is None else several)

    def name(self, index: int) -> str:
        """Names the dataset, the split, the index and, where it is known, the file."""
        name = f"{self._directory.parent.name} {self._split}, example {index}"
        try:
            file = self._reader[index].get("file")
        except RuntimeError:  # as in `record`
            return name
        return f"{name} ({os.fsdecode(file)})" if isinstance(file, bytes) else name

    def __getstate__(self) -> dict[str, Any]:
        cached = ("_builder", "_reader")
        return {key: value for key, value in self.__dict__.items() if key not in cached}

    @functools.cached_property
    def _builder(self) -> Any:
        import tensorflow_datasets as tfds

        try:
            return tfds.builder_from_directory(self._directory)
        except Exception as error:  # TFDS raises nearly anything on files that are damaged
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"{self._directory} is not a whole dataset: {reason}; remove it and prepare it "
                "again"
            ) from error

    @functools.cached_property
    def _reader(self) -> Any:
        import tensorflow_datasets as tfds

        known = list(self._builder.info.splits)
        for part in self._split.split("+"):
            base = part.split("[")[0].strip()
            if base not in known:
                raise MissingSplitError(
                    f"split {self._split!r}: {self._directory} has no split {base!r}."
                    f"{nearest(base, known)} It has {', '.join(known)}"
                )
        decoders = {self._image_key: tfds.decode.SkipDecoding()}
        try:
            return self._builder.as_data_source(self._split, decoders=decoders)
        except (ValueError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"split {self._split!r} cannot be read: {reason}; write it as train, train[:90%] "
                "or train+validation"
            ) from error


def open_tfds_split(
    name: str, split: str, *, data_dir: str | Path | None, channels: int | None, cache: FileCache
) -> TfdsSource:
    """Opens one split of a prepared dataset; `digits` is prepared first where it is missing.

    Args:
        name: `digits`, `SET`, `SET/CONFIG`, either of them with `:VERSION`.
        split: A split in TFDS syntax.
        data_dir: Where prepared datasets lie, on this machine or in a bucket; None for the usual
            places.
        channels: 1 or 3 converts the images; None leaves them as the dataset has them.
        cache: Where files of a bucket are copied to.
    """
    if name == "digits":
        # It takes a second to prepare, and less than to fetch.
        in_bucket = data_dir is not None and isinstance(user_path(data_dir), BucketPath)
        folder = default_data_dir() if data_dir is None or in_bucket else data_dir
        return TfdsSource(prepare_digits(folder), split, channels=channels)
    found = find_prepared(name, data_dir=data_dir)
    if isinstance(found, BucketPath):
        found = _copied(found, split, cache)
    return TfdsSource(found, split, channels=channels)


def _copied(folder: BucketPath, split: str, cache: FileCache) -> Path:
    """Copies what is read of a dataset in a bucket: all but the shards of other splits."""
    wanted = {part.split("[")[0].strip() for part in split.split("+")}
    files = folder.files()
    matches = [(found, _SHARD.search(found.path.name)) for found in files]
    chosen = [found for found, match in matches if match is None or match[1] in wanted]
    (info,) = (found for found in files if found.path == folder / _INFO)
    return mirror(folder, chosen, version=info.tag, cache=cache)


def find_prepared(name: str, *, data_dir: str | Path | None) -> AnyPath:
    """Finds the folder of a prepared dataset.

    Args:
        name: `SET`, `SET/CONFIG`, either of them with `:VERSION`; without one, the newest.
        data_dir: Where to look; None for TFDS's own folder and the project's.

    Returns:
        The folder of the version, which holds `dataset_info.json`.

    Raises:
        ConfigError: There is none; the message gives the commands that prepare it.
    """
    path, _, version = name.partition(":")
    roots: list[AnyPath] = [user_path(data_dir)] if data_dir else [*_usual_roots()]
    for root in roots:
        prepared = _versions(root / path, version)
        found = [folder for folder in prepared if folder.parent == root / path]
        if not found and "/" not in path:
            found = [folder for folder in prepared if folder.parent.parent == root / path]
            configs = sorted({directory.parent.name for directory in found})
            if len(configs) > 1:
                raise ConfigError(
                    f"data.name={name!r} has several configurations in {root}; write one of "
                    + ", ".join(f"{path}/{config}" for config in configs)
                )
        if found:
            return max(found, key=lambda directory: _version_key(directory.name))
    raise ConfigError(_missing(name, path, roots, data_dir))


def _versions(folder: AnyPath, version: str) -> list[AnyPath]:
    """Lists the folders of versions, at most two below a folder."""
    if isinstance(folder, BucketPath):
        infos = [found.path for found in folder.files() if found.path.name == _INFO]
        return [info.parent for info in infos if version in ("", info.parent.name)]
    patterns = (f"{version or '*'}/{_INFO}", f"*/{version or '*'}/{_INFO}")
    return [info.parent for pattern in patterns for info in folder.glob(pattern)]


def _path_hint(name: str) -> str:
    """Says how to name what lies at a path; empty if nothing does."""
    place = user_path(name)
    if place.is_dir():
        return f" For the folder of this name, write folder:{name}."
    if place.is_file():
        prefix = "zip" if place.suffix.lower() == ".zip" else "csv"
        return f" For the file of this name, write {prefix}:{name}."
    return ""


def _missing(name: str, path: str, roots: list[AnyPath], data_dir: str | Path | None) -> str:
    import tensorflow_datasets as tfds

    catalogue = tfds.list_builders(with_community_datasets=False)
    places = " or ".join(map(str, roots))
    if path.split("/")[0] not in catalogue:
        prepared = [folder.name for root in roots if root.is_dir() for folder in root.iterdir()]
        known = ["digits", *catalogue, *prepared]
        return (
            f"data.name={name!r} is not a dataset: TFDS has none of this name and none lies in "
            f"{places}.{nearest(path, known)}{_path_hint(name)} {ADVICE}"
        )
    where = f" --data-dir={data_dir}" if data_dir else ""
    return (
        f"data.name={name!r} is not prepared in {places}. Prepare it once (this needs TensorFlow): "
        f"pip install 'resnet-jax[prepare]' && resnet-jax prepare {path}{where}"
    )


def _usual_roots() -> list[Path]:
    own = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return [Path(own).expanduser(), default_data_dir()]


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _is_sequence(feature: Any) -> bool:
    """Whether a feature is a list of labels."""
    import tensorflow_datasets as tfds

    is_list = isinstance(feature, tfds.features.Sequence)
    return is_list and isinstance(feature.feature, tfds.features.ClassLabel)


def _image_and_label(builder: Any) -> tuple[str, str]:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, value in features.items() if isinstance(value, tfds.features.Image)]
    labels = [key for key, value in features.items() if isinstance(value, tfds.features.ClassLabel)]
    labels = labels or [key for key, value in features.items() if _is_sequence(value)]
    keys = builder.info.supervised_keys
    if keys and keys[0] in images and keys[1] in labels:
        return keys[0], keys[1]
    if len(images) != 1 or len(labels) != 1:
        raise ConfigError(
            f"data.name={builder.name!r} has {len(images)} image and {len(labels)} label features; "
            "only datasets for image classification can be read, with one of each"
        )
    return images[0], labels[0]

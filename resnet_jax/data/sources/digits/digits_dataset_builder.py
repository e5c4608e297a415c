"""TFDS builder of the UCI handwritten digits that scikit-learn carries.

Nothing is downloaded and TensorFlow is not needed: the images come out of the scikit-learn package
and are written as PNG files into array_record shards.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image

TEST_SIZE = 360
VALIDATION_SIZE = 144
SEED = 0
MAX_LEVEL = 16


def levels_to_uint8(levels: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Maps the 17 ink levels 0..16 onto 0..255, the nearest integer to `level * 255 / 16`.

    Args:
        levels: ink levels, integers 0..16 in any dtype, of any shape.

    Returns:
        uint8 array of the same shape; `uint8_to_levels` gives the levels back exactly.
    """
    return ((levels.astype(np.int32) * 255 + MAX_LEVEL // 2) // MAX_LEVEL).astype(np.uint8)


def uint8_to_levels(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Inverse of `levels_to_uint8`."""
    return (image.astype(np.int32) * MAX_LEVEL + 127) // 255


def split_indices(labels: NDArray[np.integer]) -> dict[str, NDArray[np.int64]]:
    """Cuts the examples into train (1293), validation (144) and test (360), stratified by label.

    The test split is scikit-learn's `train_test_split(test_size=360, stratify=target,
    random_state=0)`; validation is cut from the 1437 that remain in the same way, with
    `test_size=144`. Indices keep the order in which `train_test_split` returns them.

    Args:
        labels: integer labels, shape [1797].

    Returns:
        Indices into the 1797 examples, by split name.
    """
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_SIZE, stratify=labels, random_state=SEED
    )
    train, validation = train_test_split(
        rest, test_size=VALIDATION_SIZE, stratify=labels[rest], random_state=SEED
    )
    return {"train": train, "validation": validation, "test": test}


class Builder(tfds.core.GeneratorBasedBuilder):
    """1,797 greyscale images of handwritten digits, 8x8 pixels, ten classes."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                "label": tfds.features.ClassLabel(names=[str(digit) for digit in range(10)]),
                "index": tfds.features.Scalar(np.int32, doc="Position in scikit-learn's arrays."),
            }
        )
        return self.dataset_info_from_configs(
            features=features,
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, labels = levels_to_uint8(digits.images), digits.target
        splits = split_indices(labels)
        return {
            name: self._generate_examples(images, labels, rows) for name, rows in splits.items()
        }

    def _generate_examples(
        self, images: NDArray[np.uint8], labels: NDArray[np.integer], rows: NDArray[np.int64]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for key, row in enumerate(rows):
            encoded = io.BytesIO()
            Image.fromarray(images[row]).save(encoded, format="PNG")
            encoded.seek(0)
            yield key, {"image": encoded, "label": int(labels[row]), "index": int(row)}

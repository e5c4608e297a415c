import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from resnet_jax.data.sources import open_split
from resnet_jax.data.sources.digits import prepare_digits
from resnet_jax.data.sources.digits.digits_dataset_builder import levels_to_uint8, uint8_to_levels
from resnet_jax.errors import ConfigError


def test_levels_map_to_the_nearest_uint8_and_back():
    levels = np.arange(17.0)
    pixels = levels_to_uint8(levels)
    assert pixels.dtype == np.uint8
    assert pixels[0] == 0
    assert pixels[-1] == 255
    assert np.abs(pixels - levels * 255 / 16).max() <= 0.5
    np.testing.assert_array_equal(uint8_to_levels(pixels), levels)


def test_test_split_is_scikit_learns(digits_dir):
    data = load_digits()
    _, images, _, labels = train_test_split(
        data.images, data.target, test_size=360, stratify=data.target, random_state=0
    )
    test = open_split("digits", "test", data_dir=digits_dir).in_memory()
    np.testing.assert_array_equal(uint8_to_levels(test.images[..., 0]), images)
    np.testing.assert_array_equal(test.labels, labels)
    assert test.class_names == tuple("0123456789")


def test_splits_are_disjoint_and_cover_the_set(digits_dir):
    splits = [
        open_split("digits", split, data_dir=digits_dir).in_memory()
        for split in ("train", "validation", "test")
    ]
    assert [len(split) for split in splits] == [1293, 144, 360]
    rows = np.concatenate([split.images.reshape(len(split), 64) for split in splits])
    expected = levels_to_uint8(load_digits().images).reshape(-1, 64)
    np.testing.assert_array_equal(_sorted_rows(rows), _sorted_rows(expected))
    for split in splits:  # stratified: no class strays by more than one from its share
        shares = np.bincount(load_digits().target) * len(split) / 1797
        assert np.abs(np.bincount(split.labels) - shares).max() <= 1.5


def test_a_split_takes_tfds_syntax(digits_dir):
    assert len(open_split("digits", "train+validation", data_dir=digits_dir)) == 1437
    part = open_split("digits", "train[:90%]", data_dir=digits_dir)
    assert len(part) == 1164
    assert part[0]["image"].shape == part.image_shape == (8, 8, 1)
    assert open_split("digits", "test", data_dir=digits_dir, channels=3)[0]["image"].shape[2] == 3


def test_processes_may_prepare_at_once(tmp_path):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = pool.map(prepare_digits, [tmp_path, tmp_path])
    assert folders[0] == folders[1]
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
    assert len(open_split("digits", "test", data_dir=tmp_path)) == 360


def test_a_preparation_that_was_killed_leaves_no_half_set(tmp_path, monkeypatch):
    def killed(scratch):
        (scratch / "digits" / "1.0.0").mkdir(parents=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("resnet_jax.data.sources.digits._build_digits", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_digits(tmp_path)
    (tmp_path / ".preparing-digits-left" / "digits").mkdir(parents=True)  # as SIGKILL would
    assert len(open_split("digits", "test", data_dir=tmp_path)) == 360


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match=r"data.data_dir='.*file/sub' cannot be written .*set"):
        prepare_digits(blocked / "sub")


def test_importing_the_package_imports_no_tfds():
    code = (
        "import sys, resnet_jax.data.loading.pipeline, resnet_jax.data.sources\n"
        "sys.exit(bool({'tensorflow', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _sorted_rows(rows):
    return rows[np.lexsort(rows.T)]

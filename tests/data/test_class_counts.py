import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from resnet_jax.data.class_counts import balanced_weights, count_classes, labels_of
from resnet_jax.data.sources import open_split
from resnet_jax.errors import ConfigError


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [90, 7, 3])
    weights = balanced_weights(count_classes(labels, "abc"), "abc")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights, expected, rtol=1e-15)
    with pytest.raises(ConfigError, match="the class 'd' has no training images; add some, or"):
        balanced_weights(count_classes(labels, "abcd"), "abcd")


def test_labels_are_read_where_they_are_not_stored_apart(digits, digits_dir):
    prepared = open_split("digits", "train", data_dir=digits_dir)
    assert prepared.stored_labels() is None
    np.testing.assert_array_equal(labels_of(prepared), digits.stored_labels())
    swapped = prepared.relabelled(np.arange(10)[::-1].astype(np.int32), digits.class_names)
    np.testing.assert_array_equal(labels_of(swapped), 9 - digits.labels)


@pytest.mark.parametrize("prefix", ["folder", "csv"])
def test_labels_of_files_need_no_reading(tmp_path, prefix):
    rows = ["file,label,split"]
    for number in range(8):
        path = tmp_path / "train" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
        rows.append(f"{path},{'ab'[number % 2]},train")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    place = tmp_path if prefix == "folder" else tmp_path / "labels.csv"
    source = open_split(f"{prefix}:{place}", "train")
    assert count_classes(source.stored_labels(), source.class_names).tolist() == [4, 4]

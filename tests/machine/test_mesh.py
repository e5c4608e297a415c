import jax
import numpy as np
import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.machine.mesh import check_divides, make_mesh, put_batch


class _Mesh:
    size = 8


def test_a_batch_that_does_not_divide_gets_the_nearest_sizes():
    check_divides(64, _Mesh, field="batch_size")
    with pytest.raises(ConfigError, match=r"batch_size=100: does not divide over 8 .* 96 or 104"):
        check_divides(100, _Mesh, field="batch_size")
    with pytest.raises(ConfigError, match=r"use 8$"):
        check_divides(3, _Mesh, field="batch_size")


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ConfigError, match=r"mesh.devices=1000: this machine has"):
        make_mesh(1000)


def test_a_batch_is_split_by_example():
    mesh = make_mesh(1)
    image = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    batch = put_batch({"image": image}, mesh)
    assert batch["image"].sharding.spec == jax.sharding.PartitionSpec("data")
    np.testing.assert_array_equal(batch["image"], image)

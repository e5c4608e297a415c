import jax
import numpy as np
import pytest

from resnet_jax.data.loading.order import ClassMembers
from resnet_jax.data.loading.pipeline import train_loader
from resnet_jax.data.on_device.resident import steps_indices, take_batch, to_device
from resnet_jax.data.sources import InMemorySource


@pytest.mark.parametrize("options", [{}, {"straddle": True}, {"repeats": 2}, {"balanced": True}])
@pytest.mark.parametrize("several", [False, True])
def test_the_device_sees_the_batches_of_the_stream(digits, options, several):
    if "balanced" in options:
        options = {"balanced": ClassMembers(digits.labels // 9)}
    if several:
        digits = InMemorySource(
            digits.images, digits.labels[:, None] % [2, 3, 5] == 0, tuple("abc")
        )
    data = to_device(digits)
    indices = steps_indices(len(digits), 500, seed=3, first_step=1, steps=4, **options)
    shape = digits.image_shape
    _, batches = jax.jit(
        lambda data, rows: jax.lax.scan(
            lambda carry, row: (carry, take_batch(data, row, shape=shape)), 0, rows
        )
    )(data, indices)
    with train_loader(digits, batch_size=500, seed=3, **options) as loader:
        next(loader)
        for step in range(4):
            for key, expected in next(loader).items():
                got = batches[key][step]
                assert got.dtype == expected.dtype
                np.testing.assert_array_equal(got, expected)

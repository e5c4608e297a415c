import json

import numpy as np
import pytest

from resnet_jax.data.loading.order import ClassMembers, epoch_order, step_indices
from resnet_jax.data.loading.pipeline import eval_loader, steps_per_epoch, train_loader
from resnet_jax.data.sources import InMemorySource, open_split
from resnet_jax.errors import ConfigError


@pytest.fixture
def numbered() -> InMemorySource:
    """Ten images whose single pixel is their index."""
    numbers = np.arange(10, dtype=np.uint8)
    return InMemorySource(
        numbers.reshape(10, 1, 1, 1), numbers.astype(np.int32), tuple("abcdefghij")
    )


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def labels(batches):
    return np.concatenate([batch["label"] for batch in batches])


def noise(record, rng):
    """A transform whose result depends on the image and on its random numbers."""
    return np.full((1, 1, 1), int(record.image.flat[0]) + rng.integers(200), dtype=np.uint8)


def test_steps_per_epoch_leaves_the_remainder_out():
    assert steps_per_epoch(10, 4) == 2
    assert steps_per_epoch(10, 10) == 1
    with pytest.raises(
        ConfigError, match=r"batch_size=11 does not fit .* 10 examples; give 1 to 10"
    ):
        steps_per_epoch(10, 11)
    with pytest.raises(ConfigError, match=r"the training split has no examples; set data.train_s"):
        steps_per_epoch(0, 1)


def test_each_epoch_is_another_permutation():
    orders = [epoch_order(10, seed=3, epoch=epoch) for epoch in range(3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(10))
    assert len({tuple(order) for order in orders}) == 3


UNEQUAL = np.array([0] * 90 + [1] * 7 + [3] * 3 + [-1] * 2)


def test_a_balanced_epoch_has_as_many_examples_of_each_class():
    balanced = ClassMembers(UNEQUAL)
    orders = [epoch_order(102, seed=5, epoch=epoch, balanced=balanced) for epoch in range(3)]
    for order in orders:
        counts = np.bincount(UNEQUAL[order], minlength=4)
        assert counts.tolist() == [34, 34, 0, 34]
        times = np.bincount(order, minlength=102)
        for label, most in ((0, 1), (1, 5), (3, 12)):  # 34 draws of 90, 7 and 3 examples
            own = times[label == UNEQUAL]
            assert own.max() == most
            assert own.min() >= most - 1
        assert not times[-2:].any()
        assert (UNEQUAL[order[:34]] == 0).sum() < 30  # mixed
    assert len({tuple(order) for order in orders}) == 3
    again = epoch_order(102, seed=5, epoch=1, balanced=ClassMembers(UNEQUAL.copy()))
    np.testing.assert_array_equal(again, orders[1])
    uneven = epoch_order(100, seed=5, epoch=0, balanced=balanced)
    assert sorted(np.bincount(UNEQUAL[uneven], minlength=4)) == [0, 33, 33, 34]


def test_a_balanced_iterator_continues_where_it_was_saved(numbered):
    balanced = ClassMembers(np.array([0] * 8 + [1] * 2))
    options = {"batch_size": 4, "seed": 3, "balanced": balanced}
    loader = train_loader(numbered, **options)
    take(loader, 3)
    state = json.loads(json.dumps(loader.get_state()))
    expected = labels(take(loader, 4))
    options["balanced"] = ClassMembers(np.array([0] * 8 + [1] * 2))
    restored = train_loader(numbered, **options)
    restored.set_state(state)
    np.testing.assert_array_equal(labels(take(restored, 4)), expected)
    plain = train_loader(numbered, batch_size=4, seed=3)
    with pytest.raises(ConfigError, match="saved with balanced=None and now has balanced=1"):
        restored.set_state(plain.get_state())


def test_batches_do_not_straddle_epochs(numbered):
    with train_loader(numbered, batch_size=4, seed=0) as loader:
        batches = take(loader, 6)
    for epoch in range(3):
        seen = labels(batches[2 * epoch : 2 * epoch + 2])
        np.testing.assert_array_equal(seen, epoch_order(10, seed=0, epoch=epoch)[:8])
    for batch in batches:
        assert batch["image"].dtype == np.uint8
        assert batch["image"].shape == (4, 1, 1, 1)
        assert batch["label"].dtype == np.int32
        assert batch["mask"].dtype == np.bool_
        assert batch["mask"].all()
        np.testing.assert_array_equal(batch["image"].ravel(), batch["label"])


def test_the_seed_decides_the_order(numbered):
    first, second, other = (
        labels(take(train_loader(numbered, batch_size=5, seed=seed), 4)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("transform", [None, noise])
def test_processes_partition_the_batch_of_one_process(numbered, processes, transform):
    whole = take(train_loader(numbered, batch_size=4, seed=0, transform=transform), 5)
    parts = [
        take(
            train_loader(
                numbered,
                batch_size=4,
                seed=0,
                processes=processes,
                process=process,
                transform=transform,
            ),
            5,
        )
        for process in range(processes)
    ]
    for step, batch in enumerate(whole):
        for key in batch:
            together = np.concatenate([part[step][key] for part in parts])
            np.testing.assert_array_equal(together, batch[key])


@pytest.mark.parametrize("step", [0, 1, 3, 7])
def test_a_restored_iterator_continues_exactly(numbered, step):
    loader = train_loader(numbered, batch_size=3, seed=5, transform=noise)
    take(loader, step)
    state = json.loads(json.dumps(loader.get_state()))
    expected = take(loader, 5)
    loader.close()
    with train_loader(numbered, batch_size=3, seed=5, transform=noise) as restored:
        next(restored)
        restored.set_state(state)
        assert restored.get_state() == state
        for batch, other in zip(take(restored, 5), expected, strict=True):
            np.testing.assert_array_equal(batch["image"], other["image"])
            np.testing.assert_array_equal(batch["label"], other["label"])


def test_an_iterator_knows_its_order(numbered):
    with train_loader(numbered, batch_size=4, seed=0) as loader:
        np.testing.assert_array_equal(
            labels(take(loader, 3)),
            np.concatenate([step_indices(10, 4, seed=0, step=step) for step in range(3)]),
        )


def test_batches_may_straddle_epochs(numbered):
    with train_loader(numbered, batch_size=4, seed=0, straddle=True) as loader:
        seen = labels(take(loader, 5))
    orders = [epoch_order(10, seed=0, epoch=epoch) for epoch in (0, 1)]
    np.testing.assert_array_equal(seen, np.concatenate(orders))


def test_repeated_examples_stand_apart_and_differ(numbered):
    with train_loader(numbered, batch_size=6, seed=0, transform=noise, repeats=3) as loader:
        batch = next(loader)
    order = epoch_order(10, seed=0, epoch=0)
    np.testing.assert_array_equal(batch["label"], np.tile(order[:2], 3))
    assert len(set(batch["image"][::2].ravel())) == 3


@pytest.mark.slow
def test_workers_give_what_threads_give_and_resume(digits_dir, digits):
    source = open_split("digits", "train", data_dir=digits_dir)
    plain = train_loader(digits, batch_size=300, seed=1)
    with train_loader(source, batch_size=300, seed=1, workers=2) as loader:
        for batch, expected in zip(take(loader, 5), take(plain, 5), strict=True):
            np.testing.assert_array_equal(batch["image"], expected["image"])
        state = loader.get_state()
        next(loader)
    with train_loader(source, batch_size=300, seed=1, workers=2) as restored:
        restored.set_state(state)
        np.testing.assert_array_equal(next(restored)["image"], next(plain)["image"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"workers": 2}, "saved with workers=0 and now has workers=2; set workers back to 0"),
        ({"seed": 9}, "saved with seed=0 and now has seed=9"),
        ({"batch_size": 2}, "saved with batch_size=4 and now has batch_size=2"),
    ],
)
def test_a_state_of_another_set_up_is_refused(numbered, change, message):
    state = train_loader(numbered, batch_size=4, seed=0).get_state()
    loader = train_loader(numbered, **{"batch_size": 4, "seed": 0, **change})
    with pytest.raises(ConfigError, match=message):
        loader.set_state(state)


def test_a_closed_iterator_says_so(numbered):
    loader = train_loader(numbered, batch_size=4, seed=0)
    next(loader)
    loader.close()
    with pytest.raises(ValueError, match="closed"):
        next(loader)


@pytest.mark.parametrize("batch_size", [2, 4, 10, 12, 64])
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("transform", [None, noise])
def test_evaluation_counts_each_example_once(numbered, batch_size, processes, transform):
    loaders = [
        eval_loader(
            numbered,
            batch_size=batch_size,
            processes=processes,
            process=process,
            transform=transform,
        )
        for process in range(processes)
    ]
    assert len({len(loader) for loader in loaders}) == 1
    for _ in range(2):
        batches = [list(loader) for loader in loaders]
        assert {len(part) for part in batches} == {len(loaders[0])}
        seen = []
        for part in batches:
            for batch in part:
                assert batch["image"].shape == (batch_size // processes, 1, 1, 1)
                seen.extend(batch["label"][batch["mask"]])
        assert sorted(seen) == list(range(10))


def test_images_of_several_sizes_are_refused(numbered):
    def grow(record, _):
        return np.zeros((1 + record.label, 1, 1), np.uint8)

    loader = train_loader(numbered, batch_size=4, seed=0, transform=grow)
    with pytest.raises(ConfigError, match=r"images of the shapes .* set data.image_size"):
        next(loader)
    loader.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "batch_size=11 does not fit a training split of 10 examples"),
        ({"batch_size": 0}, "batch_size=0 does not fit"),
        ({"batch_size": 4, "processes": 3}, "batch_size=4 cannot be divided among 3 processes"),
        ({"batch_size": 4, "processes": 2, "process": 2}, "process=2 is not one of 2 processes"),
        ({"batch_size": 4, "seed": -1}, "seed=-1 is negative"),
    ],
)
def test_what_cannot_be_is_refused(numbered, options, message):
    with pytest.raises(ConfigError, match=message):
        train_loader(numbered, **{"seed": 0, **options})


def test_an_empty_split_is_not_evaluated():
    empty = InMemorySource(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int32), ("a",))
    with pytest.raises(ConfigError, match="no examples"):
        eval_loader(empty, batch_size=4)

import chex
import jax
import numpy as np
import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import FinetuneConfig, ResizeConfig
from resnet_jax.training.step.resizing import shrink, size_at
from resnet_jax.weights import load_pretrained


@pytest.fixture
def stepped(make, copied, batch):
    """Takes one step of a config and returns the states before and after it, and the sums."""

    def stepped(config):
        _, trainer = make(config)
        state = trainer.first_state()
        before = copied(state)
        after, sums = trainer.train_step(state, batch)
        return before, copied(after), copied(sums)

    return stepped


WEIGHTS = (1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 5.0, 0.5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("parts", [2, 8])
def test_accumulation_equals_the_large_batch(stepped, config, vary, parts, weights):
    whole = vary(config, batch_size=16, model__name="tiny_gn", schedule__warmup_epochs=0.0)
    whole = vary(whole, loss__class_weights=weights)
    _, expected, sums = stepped(whole)
    _, found, found_sums = stepped(vary(whole, accumulation=parts))
    chex.assert_trees_all_close(found.params, expected.params, rtol=1e-5, atol=1e-6)
    assert found_sums["top1"] == sums["top1"]
    np.testing.assert_allclose(found_sums["loss"], sums["loss"], rtol=1e-5)
    np.testing.assert_allclose(found_sums["gradient_norm"], sums["gradient_norm"], rtol=1e-4)


def test_with_batch_norm_each_part_moves_the_statistics(stepped, config, vary):
    whole = vary(config, batch_size=16)
    before, once, _ = stepped(whole)
    _, twice, _ = stepped(vary(whole, accumulation=2))
    start, one, two = (s.batch_stats["stem"]["norm"]["mean"] for s in (before, once, twice))
    # The stem sees the same weights in both parts: 1 - 0.9 of the mean, and 1 - 0.9^2.
    np.testing.assert_allclose((two - start) / (one - start), np.full(8, 1.9), rtol=0.2)


def test_parts_that_do_not_divide_are_refused(make, config, vary):
    with pytest.raises(ConfigError, match=r"batch_size=64: .* times accumulation=3; use 63 or 66"):
        make(vary(config, accumulation=3))


def test_frozen_parts_keep_parameters_and_statistics(stepped, config, vary):
    plain = vary(config, optimizer__weight_decay=0.1, schedule__warmup_epochs=0.0)
    before, after, sums = stepped(vary(plain, finetune=FinetuneConfig(frozen_stages=2)))
    for part in (lambda tree: tree["stem"], lambda tree: tree["stages"][0]):
        chex.assert_trees_all_equal(part(after.params), part(before.params))
        chex.assert_trees_all_equal(part(after.batch_stats), part(before.batch_stats))
    for path, leaf in jax.tree_util.tree_leaves_with_path(after.params["stages"][1]):
        old = before.params["stages"][1]
        for entry in path:
            old = old[entry.key]
        assert (leaf != old).any(), path
    assert sums["gradient_norm"] < stepped(plain)[2]["gradient_norm"]


def test_more_frozen_stages_than_there_are_are_refused(make, config, vary):
    with pytest.raises(ConfigError, match=r"frozen_stages=4: tiny has a stem and 2 stages"):
        make(vary(config, finetune=FinetuneConfig(frozen_stages=4)))


def test_an_average_may_move_every_few_steps(make, config, vary, batch, copied):
    _, trainer = make(vary(config, ema__every=2, ema__decay=0.1))
    state = trainer.first_state()
    start = copied(state.average)
    state, _ = trainer.train_step(state, batch)
    chex.assert_trees_all_equal(copied(state.average), start)
    state, _ = trainer.train_step(state, batch)
    expected = jax.tree.map(lambda a, b: 0.1 * a + 0.9 * b, start.params, copied(state.params))
    chex.assert_trees_all_close(copied(state.average.params), expected, rtol=1e-5, atol=1e-6)


def test_sizes_grow_to_the_full_one():
    config = ResizeConfig(first=128, begin=0.25, end=0.75)
    sizes = [size_at(config, step, total_steps=100, full=192) for step in range(100)]
    assert sizes == sorted(sizes)
    assert sorted(set(sizes)) == [128, 160, 192]
    assert (sizes[0], sizes[25], sizes[50], sizes[75]) == (128, 128, 160, 192)


def test_shrinking_keeps_type_and_mean():
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    batch = shrink({"image": image, "label": np.arange(2)}, 32)
    assert batch["image"].shape == (2, 32, 32, 3)
    assert batch["image"].dtype == np.uint8
    assert abs(float(batch["image"].mean()) - image.mean()) < 1
    np.testing.assert_array_equal(batch["label"], np.arange(2))


def test_a_run_begins_with_trained_weights(make, config, vary, shared_data):
    weights = shared_data / "data" / "cifar_resnet_weights" / "resnet20-12fca82f.th"
    tuned = vary(
        config,
        model__name="resnet20",
        model__in_features=3,
        data__channels=3,
        finetune=FinetuneConfig(weights=str(weights)),
    )
    _, trainer = make(tuned)
    state = trainer.first_state()
    expected = load_pretrained("resnet20", weights)
    np.testing.assert_array_equal(
        state.params["stem"]["conv"]["kernel"], expected.stem.conv.kernel[...]
    )
    np.testing.assert_array_equal(state.params["head"]["kernel"], expected.head.kernel[...])
    chex.assert_trees_all_equal(state.average.params, state.params)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, trainer.like())
    with pytest.raises(ValueError, match=r"nowhere\.th"):
        make(vary(tuned, finetune=FinetuneConfig(weights="nowhere.th")))[1].first_state()

"""Classes of different sizes: their weights, and how often they are drawn."""

import io

import numpy as np
import pytest
from rich.console import Console

from resnet_jax.data.sources import InMemorySource
from resnet_jax.errors import ConfigError
from resnet_jax.training.checks import fit_notes, fit_to_data
from resnet_jax.training.loop import train
from resnet_jax.training.workdir.layout import Workdir
from resnet_jax.training.workdir.records import CLOCKED, read_records

LABELS = np.repeat([0, 1, 2], [36, 6, 6])


@pytest.fixture
def source():
    levels = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 1), dtype=np.uint8)
    return InMemorySource(levels, LABELS, ("cat", "dog", "emu"))


@pytest.fixture
def config(config, vary):
    return vary(
        config,
        model__num_classes=None,
        data__name="given:pets",
        data__train_split="train",
        data__validation_split=None,
        data__test_split="train",
        batch_size=16,
        schedule__warmup_epochs=0.0,
    )


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, None),
        ("balanced", (48 / (3 * 36), 48 / (3 * 6), 48 / (3 * 6))),
        ({"dog": 2.5}, (1.0, 2.5, 1.0)),
        ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    ],
)
def test_weights_become_numbers_in_the_order_of_the_outputs(
    config, vary, source, weights, expected
):
    config = vary(config, loss__class_weights=weights)
    assert fit_to_data(config, source).loss.class_weights == expected
    wide = vary(config, model__num_classes=5, model__unused_outputs=True)
    assert fit_to_data(wide, source).loss.class_weights == (expected and (*expected, 1.0, 1.0))
    assert fit_to_data(config, source).loss.name == "cross_entropy"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"dogs": 2.0}, r"names 'dogs', which is no class of given:pets. Did you mean 'dog'\?"),
        ((1.0, 2.0), "has 2 numbers, and given:pets 3 classes; .* order: 'cat', 'dog', 'emu', or"),
    ],
)
def test_weights_that_do_not_fit_are_refused(config, vary, source, weights, message):
    with pytest.raises(ConfigError, match=message):
        fit_to_data(vary(config, loss__class_weights=weights), source)


@pytest.mark.parametrize(
    ("batch", "expected"), [(16, 16), (48, 48), (64, 32), (256, 32), (96, 48), (75, 75)]
)
def test_a_batch_is_halved_until_it_fits_if_the_recipe_says_so(
    config, vary, source, batch, expected
):
    given = vary(config, batch_size=batch, halve_batch=True)
    fitted = fit_to_data(given, source)
    assert fitted.batch_size == expected
    assert fit_to_data(fitted, source) == fitted  # as where it is resumed
    said = " ".join(fit_notes(given, fitted))
    assert (f"batch_size is {expected}, not {batch}" in said) == (batch != expected)
    assert fit_to_data(vary(config, batch_size=batch), source).batch_size == batch


def test_sizes_are_made_up_for_once(config, vary, source):
    both = vary(config, loss__class_weights="balanced", data__sampling="balanced")
    with pytest.raises(ConfigError, match=r"twice, .* loss.class_weights=none or data.sampling=un"):
        fit_to_data(both, source)
    numbers = vary(both, loss__class_weights=(1.0, 2.0, 3.0))
    assert fit_to_data(numbers, source).loss.class_weights == (1.0, 2.0, 3.0)


def records_of(folder):
    records = read_records(Workdir(folder))
    return [record | dict.fromkeys(CLOCKED) for record in records]


@pytest.mark.parametrize("resident", [False, True])
def test_a_balanced_run_resumes_bit_for_bit(tmp_path, config, vary, source, resident):
    config = vary(
        config,
        steps=8,
        data__sampling="balanced",
        data__device_resident=resident,
        loss__class_weights=(1.0, 2.0, 3.0),
        log_every_steps=1,
        checkpoint__every_steps=5,
    )
    for name, stops in (("whole", False), ("parts", True)):
        out = Console(file=io.StringIO())
        train(config, tmp_path / name, sources={"train": source}, console=out)
        if stops:
            damaged = next((tmp_path / name / "checkpoints" / "8" / "live").rglob("manifest.ocdbt"))
            damaged.write_bytes(damaged.read_bytes()[:-5])
            train(config, tmp_path / name, sources={"train": source}, console=out)
            assert "resuming at step 5 of 8" in out.file.getvalue()
    assert records_of(tmp_path / "parts") == records_of(tmp_path / "whole")
    # What the step weighs does not reach the accuracies, which count each image once.
    assert records_of(tmp_path / "whole")[-1]["test_count"] == 48

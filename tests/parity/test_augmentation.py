"""Policies, mixup, CutMix and repeated augmentation against torchvision and timm."""

import importlib
import random

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.images.policies.magnitudes import (
    INCREASING,
    SIGNED,
    USUAL,
    increasing_value,
    usual_value,
    wide_value,
)
from resnet_jax.data.images.policies.operations import Canvas, Operation, apply_operation
from resnet_jax.data.images.policies.tables import CIFAR, IMAGENET
from resnet_jax.data.loading import order
from resnet_jax.data.on_device import mixing

SIZE = (40, 56)


@pytest.fixture(params=["RGB", "L"])
def image(request):
    """A photo with edges, ramps and noise."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    noise = np.random.default_rng(0).integers(40, size=(*SIZE, 3))
    ramps = np.stack([5 * rows, 3 * columns, 150 * ((rows + columns) % 20 > 9)], axis=-1)
    return Image.fromarray((ramps + noise).clip(0, 255).astype(np.uint8)).convert(request.param)


@pytest.fixture(scope="session")
def theirs(torchvision):
    return importlib.import_module(f"{torchvision.__name__}.transforms.autoaugment")


@pytest.fixture(scope="session")
def timms(timm):
    return importlib.import_module(f"{timm.__name__}.data.auto_augment")


def assert_equal_photos(ours, expected, levels=0):
    assert ours.mode == expected.mode
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(expected))
    assert difference.max() <= levels
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("name", [*USUAL, "Invert"])
@pytest.mark.parametrize("drawn_by", ["nearest", "bilinear", "bicubic"])
def test_operations_are_torchvisions(theirs, image, name, drawn_by):
    mode = theirs.InterpolationMode(drawn_by)
    levels = 1 if name.startswith("Shear") else 0  # torchvision turns the slope into degrees
    fill = [90.0, 60.0, 30.0][: len(image.getbands())]
    canvas = Canvas(drawn_by, (90, 60, 30))
    for share in (0.0, 0.3, 0.9, 1.0):
        for sign in (1, -1) if name in SIGNED else (1,):
            value = sign * wide_value(name, share, SIZE)
            ours = apply_operation(image, Operation(name, value), canvas)
            expected = theirs._apply_op(image, name, value, mode, fill)
            assert_equal_photos(ours, expected, levels)


@pytest.mark.parametrize("bins", [10, 31])
def test_strengths_are_torchvisions(theirs, bins):
    usual = theirs.AutoAugment()._augmentation_space(bins, SIZE)
    wide = theirs.TrivialAugmentWide()._augmentation_space(bins)
    assert theirs.RandAugment()._augmentation_space(bins, SIZE).keys() == set(USUAL)
    assert wide.keys() == set(USUAL)
    for table, value_of in ((usual, usual_value), (wide, wide_value)):
        for name, (values, signed) in table.items():
            assert signed == (name in SIGNED)
            for place in range(bins):
                expected = float(values[place]) if values.ndim else 0.0
                if name.startswith("Translate"):
                    expected = int(expected + 1e-5)  # whole pixels; theirs are float32
                got = value_of(name, place / (bins - 1), SIZE)
                assert got == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_tables_are_torchvisions(theirs):
    for table, name in ((IMAGENET, "IMAGENET"), (CIFAR, "CIFAR10")):
        policies = theirs.AutoAugment(theirs.AutoAugmentPolicy[name]).policies
        plain = [tuple((op, share, level or 0) for op, share, level in pair) for pair in policies]
        assert list(table) == plain


def timm_name(timms, name):
    """timm's name of an operation in the form that grows with its magnitude."""
    known = timms._RAND_INCREASING_TRANSFORMS
    return next(other for other in known if other in (name, f"{name}Increasing", f"{name}Rel"))


@pytest.mark.parametrize("name", INCREASING)
@pytest.mark.parametrize("magnitude", [0.0, 3.3, 6.0, 7.0, 10.0])
def test_increasing_operations_are_timms(timms, image, name, magnitude, monkeypatch):
    assert len(INCREASING) == len(timms._RAND_INCREASING_TRANSFORMS)
    fill = (90, 60, 30) if image.mode == "RGB" else 90
    for negated in (False, True):
        monkeypatch.setattr(random, "random", lambda negated=negated: float(negated))
        operation = timms.AugmentOp(
            timm_name(timms, name),
            prob=1.0,
            magnitude=magnitude,
            hparams={"img_mean": fill, "interpolation": Image.Resampling.BICUBIC},
        )
        # timm moves by what is added to the place that is read, we by where it comes to lie.
        against = name in SIGNED and negated != name.startswith("Translate")
        value = increasing_value(name, magnitude / 10, SIZE) * (-1 if against else 1)
        canvas = Canvas("bicubic", (90, 60, 30))
        ours = apply_operation(image, Operation(name, value), canvas)
        if name == "Posterize" and value == 0:  # newer versions of Pillow refuse it
            assert ours.getextrema() in ((0, 0), ((0, 0),) * 3)
        else:
            assert_equal_photos(ours, operation(image))


@pytest.mark.parametrize("mode", ["batch", "pair"])
@pytest.mark.parametrize("cut", [False, True, "both"])
def test_mixing_is_timms(timm, torch, mode, cut, monkeypatch):
    mixup = importlib.import_module(f"{timm.__name__}.data.mixup")
    rng = np.random.default_rng(3)
    images = rng.normal(size=(8, 12, 20, 3)).astype(np.float32)
    labels = rng.integers(5, size=8)
    draws = 1 if mode == "batch" else 4
    shares = rng.uniform(0.1, 0.9, draws).astype(np.float32)
    cuts = np.array([True, False, False, True])[:draws] if cut == "both" else np.full(draws, cut)
    centres = np.stack([rng.integers(12, size=draws), rng.integers(20, size=draws)], axis=-1)
    boxes = np.asarray(mixing.cut_box(jnp.array(centres), jnp.array(shares), (12, 20)))
    mixer = mixup.Mixup(1.0, 1.0, mode=mode, label_smoothing=0.1, num_classes=5)
    monkeypatch.setattr(mixer, "_params_per_batch", lambda: (float(shares[0]), bool(cuts[0])))
    monkeypatch.setattr(mixer, "_params_per_elem", lambda count: (shares.copy(), cuts))
    drawn = iter([int(edge) for centre in centres[cuts] for edge in centre])
    monkeypatch.setattr(np.random, "randint", lambda *limits, size=None: next(drawn))
    expected_images, expected_targets = mixer(
        torch.tensor(images).permute(0, 3, 1, 2), torch.tensor(labels)
    )
    draw = mixing.complete_draw(jnp.array(shares), jnp.array(cuts), jnp.array(boxes), 8, (12, 20))
    ours, targets = jnp.array(images), jnp.eye(5)[labels] * 0.9 + 0.02
    mixed = mixing.mix_images(draw, ours, partners=mixing.opposite(ours, 8))
    np.testing.assert_allclose(mixed, expected_images.permute(0, 2, 3, 1), atol=1e-6)
    shares_mixed = mixing.mix_targets(draw, targets, partners=mixing.opposite(targets, 8))
    np.testing.assert_allclose(shares_mixed, expected_targets, atol=1e-6)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_repeated_augmentation_is_that_of_rsb(timm, torch, replicas, monkeypatch):
    samplers = importlib.import_module(f"{timm.__name__}.data.distributed_sampler")
    examples, batch_size = 1024, 128
    samples = [
        list(
            samplers.RepeatAugSampler(
                range(examples), num_replicas=replicas, rank=rank, num_repeats=3
            )
        )
        for rank in range(replicas)
    ]
    generator = torch.Generator()
    generator.manual_seed(0)
    permutation = torch.randperm(examples, generator=generator).numpy()
    monkeypatch.setattr(order, "epoch_order", lambda *_, **__: permutation)
    local = batch_size // replicas
    steps = order.steps_per_epoch(examples, batch_size)
    assert steps == len(samples[0]) // local
    for step in range(steps):
        expected = [index for rank in samples for index in rank[step * local : (step + 1) * local]]
        ours = order.step_indices(examples, batch_size, seed=0, step=step, repeats=3)
        assert sorted(ours) == sorted(expected)

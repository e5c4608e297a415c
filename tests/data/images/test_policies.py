import pickle

import numpy as np
import pytest

from resnet_jax.data.config import MAX_PIXELS, AugmentConfig, DataConfig
from resnet_jax.data.images.policies.magnitudes import INCREASING, USUAL
from resnet_jax.data.images.policies.operations import (
    OPERATIONS,
    PLAIN_CANVAS,
    Operation,
    apply_operation,
)
from resnet_jax.data.images.policies.policy import (
    AutoAugment,
    RandAugment,
    RandAugmentIncreasing,
    TrivialAugment,
    apply_policy,
    build_policy,
)
from resnet_jax.data.images.policies.tables import CIFAR, IMAGENET
from resnet_jax.data.images.record import Record
from resnet_jax.data.images.resize import RandomResizedCrop
from resnet_jax.data.images.transforms import (
    ChangeByPolicy,
    Decode,
    Flip,
    ImageSteps,
    PadCrop,
    train_transform,
)
from resnet_jax.data.loading.batches import TrainBatches
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import TrainConfig
from resnet_jax.training.recipe.overrides import validate

POLICIES = [
    AutoAugment(IMAGENET),
    AutoAugment(CIFAR),
    RandAugment(),
    RandAugmentIncreasing(),
    TrivialAugment(),
]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(params=[1, 3])
def pixels(request):
    return rng().integers(256, size=(24, 32, request.param), dtype=np.uint8)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_a_policy_depends_on_its_generator_alone(policy, pixels):
    before = pixels.copy()
    results = [apply_policy(policy, pixels, rng(seed)) for seed in range(40)]
    again = apply_policy(pickle.loads(pickle.dumps(policy)), pixels, rng(7))
    np.testing.assert_array_equal(again, results[7])
    np.testing.assert_array_equal(pixels, before)
    assert {result.shape for result in results} == {pixels.shape}
    assert {result.dtype for result in results} == {np.dtype(np.uint8)}
    assert len({result.tobytes() for result in results}) > 10


def test_every_operation_is_drawn_and_known():
    generator = rng()

    def drawn(policy):
        draws = [policy.draw(generator, (32, 32)) for _ in range(2000)]
        return {operation.name for draw in draws for operation, _ in draw}

    assert drawn(RandAugment()) == drawn(TrivialAugment()) == set(USUAL)
    assert drawn(RandAugmentIncreasing()) == set(INCREASING)
    assert set(USUAL) | set(INCREASING) == set(OPERATIONS)


def test_a_half_of_the_increasing_operations_is_done():
    generator, policy = rng(), RandAugmentIncreasing(operations=3, magnitude=6, spread=0.5)
    draws = [policy.draw(generator, (32, 32)) for _ in range(2000)]
    assert 1.4 < np.mean([len(draw) for draw in draws]) < 1.6
    angles = [op.value for draw in draws for op, _ in draw if op.name == "Rotate"]
    assert 17 < np.mean(np.abs(angles)) < 19  # 6 of 10 times 30 degrees
    assert 1 < np.std(np.abs(angles)) < 2
    assert 0.35 < np.mean(np.array(angles) > 0) < 0.65
    assert {canvas.filter for draw in draws for _, canvas in draw} == {"bilinear", "bicubic"}


def test_an_operation_moves_in_the_stated_sense():
    from PIL import Image

    pixels = np.zeros((5, 5), np.uint8)
    pixels[2, 2] = 255
    for name, place in (("TranslateX", (2, 3)), ("TranslateY", (3, 2))):
        moved = apply_operation(Image.fromarray(pixels), Operation(name, 1), PLAIN_CANVAS)
        assert np.argwhere(np.asarray(moved)).tolist() == [list(place)]


def test_the_recipe_chooses_the_policy():
    data = DataConfig(interpolation="bicubic", mean=(0.5, 0.25, 0.2))
    assert build_policy(AugmentConfig(), data) is None
    assert build_policy(AugmentConfig(policy="randaugment"), data).magnitude == 9
    increasing = AugmentConfig(policy="randaugment_increasing", policy_magnitude=6)
    assert build_policy(increasing, data) == RandAugmentIncreasing(2, 6, 0.5, (128, 64, 51))
    wide = build_policy(AugmentConfig(policy="trivialaugment"), data)
    assert wide.canvas.filter == "bicubic"
    assert build_policy(AugmentConfig(policy="autoaugment_cifar"), data).table is CIFAR
    assert build_policy(AugmentConfig(policy="autoaugment_imagenet"), data).table is IMAGENET


def test_a_policy_comes_after_crop_and_flip_on_the_host(digits):
    augment = AugmentConfig(policy="trivialaugment", pad_crop=2, flip=0.5)
    change = train_transform(DataConfig(), augment, channels=1)
    assert change.first == Decode(1, MAX_PIXELS)
    assert change.rest[:2] == (PadCrop(2), Flip(0.5))
    batch = TrainBatches(digits, 16, 0, 1, 0, change)(3)
    assert batch["image"].shape == (16, 8, 8, 1)
    sized = train_transform(DataConfig(image_size=12), augment, channels=1)
    assert sized.first == RandomResizedCrop(12, channels=1)
    assert sized(Record(digits.images[0], 0), rng()).shape == (12, 12, 1)
    nothing = AutoAugment(((("Invert", 1.0, 0),) * 2,))
    nothing = ImageSteps(change.first, (Flip(1.0), ChangeByPolicy(nothing)))
    np.testing.assert_array_equal(
        nothing(Record(digits.images[0], 0), rng()), digits.images[0][:, ::-1]
    )


def test_pad_crop_gives_windows_of_the_padded_image(digits):
    image = digits.images[0]
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = {
        padded[top : top + 8, left : left + 8].tobytes() for top in range(5) for left in range(5)
    }
    generator = rng()
    seen = {PadCrop(2)(image, generator).tobytes() for _ in range(200)}
    assert seen <= windows
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy_operations": 0}, "augment.policy_operations=0: must be greater than 0"),
        ({"policy_magnitude": 31}, "augment.policy_magnitude=31: must be less than or equal to 30"),
        (
            {"policy": "randaugment_increasing", "policy_magnitude": 11},
            "augment.policy_magnitude=11 is out of range; randaugment_increasing goes from 0 to 10",
        ),
    ],
)
def test_a_wrong_policy_field_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        validate(TrainConfig(augment=AugmentConfig(**fields)))

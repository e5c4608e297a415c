"""The settings of the recipes, one by one, against what their sources say."""

import dataclasses

import pytest

from resnet_jax.training.recipes import load_recipe

SGD = {"name": "sgd", "momentum": 0.9, "nesterov": False, "decay_mode": None, "clip_norm": None}
# Clipping is inside of timm's LAMB (max_grad_norm); betas and epsilon are its defaults, and ours.
LAMB = {"name": "lamb", "betas": None, "epsilon": None, "decay_on": "matrices", "clip_norm": 1.0}
# Random resized crops of torchvision and timm, and ImageNet's pixels.
CROPS = {"crop_area": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3)}
PIXELS = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNCHANGED = {"policy": None, "erase": 0.0, "mixup": 0.0, "cutmix": 0.0, "flip": 0.5}
# timm's --mixup-prob, --mixup-switch-prob and --mixup-mode, and torchvision's RandomChoice.
ALTERNATING = {"cutmix": 1.0, "mix_probability": 1.0, "mix_switch": 0.5, "mix_mode": "batch"}


def rsb(*, decay, smoothing, mixup, magnitude, repeats, drop_path, size):
    """A column of table 2 of "ResNet strikes back"; what it does not name is timm's."""
    policy = {"policy": "randaugment_increasing", "policy_operations": 2, "policy_spread": 0.5}
    return {
        "batch_size": 2048,
        "loss": "bce",
        "bce_threshold": 0.2,
        "label_smoothing": smoothing,
        "optimizer": {**LAMB, "weight_decay": decay},
        "model": {
            **{"name": "resnet50", "zero_init_last": True, "drop_path_rate": drop_path},
            **{"dropout_rate": 0.0, "norm_group_size": 512},
        },
        "augment": {
            **{**policy, **ALTERNATING, "policy_magnitude": magnitude, "mixup": mixup},
            **{"erase": 0.0, "flip": 0.5, "mix_group_size": 512},
        },
        "data": {
            **{**CROPS, **PIXELS, "repeats": repeats, "image_size": size},
            **{"crop_fraction": 0.95, "interpolation": "bicubic"},
        },
    }


SETTINGS = {
    "cifar10_he2015": {
        "batch_size": 128,
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "ema": None,
        "optimizer": {**SGD, "weight_decay": 1e-4, "decay_on": "all"},
        "augment": {**UNCHANGED, "pad_crop": 4},
    },
    "imagenet_resnet50": {
        "batch_size": 8 * 32,
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "ema": None,
        "optimizer": {**SGD, "weight_decay": 1e-4, "decay_on": "all"},
        "model": {"name": "resnet50", "zero_init_last": False, "norm_group_size": 32},
        "augment": UNCHANGED,
        "data": {**CROPS, **PIXELS, "image_size": 224, "crop_fraction": 224 / 256, "repeats": 1},
    },
    "imagenet_rsb:a1": rsb(
        decay=0.01, smoothing=0.1, mixup=0.2, magnitude=7, repeats=3, drop_path=0.05, size=224
    ),
    "imagenet_rsb:a2": rsb(
        decay=0.02, smoothing=0.0, mixup=0.1, magnitude=7, repeats=3, drop_path=0.05, size=224
    ),
    "imagenet_rsb:a3": rsb(
        decay=0.02, smoothing=0.0, mixup=0.1, magnitude=6, repeats=1, drop_path=0.0, size=160
    ),
    "imagenet_torchvision_v2": {
        "batch_size": 8 * 128,
        "loss": "cross_entropy",
        "label_smoothing": 0.1,
        # train.py: 1 - (1 - 0.99998) * world_size * batch_size * steps / epochs.
        "ema": {"every": 32, "decay": pytest.approx(1 - 2e-5 * 8 * 128 * 32 / 600, abs=1e-12)},
        "optimizer": {**SGD, "weight_decay": 2e-5, "decay_on": "not_norms"},
        "model": {"name": "resnet50", "zero_init_last": False, "norm_group_size": 128},
        "augment": {
            **{**ALTERNATING, "mixup": 0.2, "mix_group_size": 128, "policy": "trivialaugment"},
            **{"erase": 0.1, "erase_mode": "mean", "flip": 0.5},
        },
        "data": {
            **{**CROPS, **PIXELS, "image_size": 176, "crop_fraction": 224 / 232, "repeats": 4},
            "interpolation": "bilinear",
        },
    },
    "imagenet_fast": {
        "batch_size": 8 * 512,
        "loss": "cross_entropy",
        "label_smoothing": 0.1,
        "ema": None,
        "optimizer": {**SGD, "weight_decay": 1e-4, "decay_on": "not_norms"},
        "model": {"name": "resnetblur50", "zero_init_last": False, "norm_group_size": 512},
        "augment": UNCHANGED,
        "data": {**CROPS, **PIXELS, "image_size": 192, "crop_fraction": 224 / 256, "repeats": 1},
        "resize": {"first": 160, "multiple": 32},
    },
}


def chosen(config, expected):
    """Picks the fields of a config that are expected."""
    return {
        field: chosen(getattr(config, field), value)
        if isinstance(value, dict)
        else getattr(config, field)
        for field, value in expected.items()
    }


@pytest.mark.parametrize("recipe", SETTINGS)
def test_settings_are_those_of_the_source(recipe):
    name, colon, argument = recipe.partition(":")
    config = load_recipe(f"configs/{name}.py{colon}{argument}")
    assert chosen(config, SETTINGS[recipe]) == SETTINGS[recipe]


def test_torchvisions_second_test_is_224_of_232():
    data = load_recipe("configs/imagenet_torchvision_v2.py").data
    test = dataclasses.replace(data, image_size=224)
    assert int(test.image_size / test.crop_fraction) == 232

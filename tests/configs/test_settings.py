"""The numbers of each recipe against its source; test_schedules.py has lengths and rates."""

import operator

import pytest

from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.load import load_recipe
from resnet_jax.zoo.published import pretrained_info

SGD = {
    "optimizer.name": "sgd",
    "optimizer.momentum": 0.9,
    "optimizer.nesterov": False,
    "optimizer.decay_mode": None,
    "optimizer.clip_norm": None,
}
NESTEROV = SGD | {"optimizer.nesterov": True, "optimizer.decay_on": "matrices"}
# Clipping is part of timm's LAMB (max_grad_norm); its betas and epsilon are our defaults.
LAMB = {
    "optimizer.name": "lamb",
    "optimizer.betas": None,
    "optimizer.epsilon": None,
    "optimizer.decay_on": "matrices",
    "optimizer.clip_norm": 1.0,
}
PLAIN = {
    "loss.name": None,
    "loss.label_smoothing": 0.0,
    "augment.policy": None,
    "augment.flip": 0.5,
    "augment.erase": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
}
# timm's --mixup-prob, --mixup-switch-prob and --mixup-mode, and torchvision's RandomChoice.
ALTERNATING = {
    "augment.cutmix": 1.0,
    "augment.mix_probability": 1.0,
    "augment.mix_switch": 0.5,
    "augment.mix_mode": "batch",
}
CIFAR = {
    "data.name": "cifar10",
    "data.image_size": None,
    "data.mean": (0.4914, 0.4822, 0.4465),
    "data.std": (0.2470, 0.2435, 0.2616),
    "augment.pad_crop": 4,
}
# The random resized crops are the defaults of torchvision and timm.
IMAGENET = {
    "model.dropout_rate": 0.0,
    "data.name": "imagenet2012",
    "data.train_split": "train",
    "data.validation_split": None,
    "data.test_split": "validation",
    "data.crop_area": (0.08, 1.0),
    "data.crop_ratio": (3 / 4, 4 / 3),
}


def rsb(*, decay, smoothing, mixup, magnitude, repeats, drop_path):
    """A column of table 2 of "ResNet strikes back"; timm decides what the table leaves out."""
    return {
        **IMAGENET,
        **LAMB,
        **ALTERNATING,
        "batch_size": 2048,
        "loss.name": "bce",
        "loss.bce_threshold": 0.2,
        "loss.label_smoothing": smoothing,
        "ema.decay": 0.9998,
        "ema.every": 1,
        "optimizer.weight_decay": decay,
        "model.name": "resnet50",
        "model.dtype": "bfloat16",
        "model.zero_init_last": True,
        "model.drop_path_rate": drop_path,
        "model.norm_group_size": 2048 // 4,
        "augment.policy": "randaugment_increasing",
        "augment.policy_operations": 2,
        "augment.policy_magnitude": magnitude,
        "augment.policy_spread": 0.5,
        "augment.flip": 0.5,
        "augment.erase": 0.0,
        "augment.mixup": mixup,
        "augment.mix_group_size": 2048 // 4,
        "data.repeats": repeats,
    }


SETTINGS = {
    # Wide residual networks (2016), for batches of 512; the rest is ours.
    "cifar10_fast.py": {
        **PLAIN,
        **CIFAR,
        **NESTEROV,
        "batch_size": 512,
        "loss.label_smoothing": 0.1,
        "ema.decay": 0.995,
        "optimizer.weight_decay": 5e-4,
        "model.name": "wide_resnet16_8",
        "augment.erase": 0.5,
    },
    "cifar10_he2015.py": {
        **PLAIN,
        **CIFAR,
        **SGD,
        "batch_size": 128,
        "ema": None,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_on": "all",
        "model.name": "resnet20",
    },
    # Ours: what the result on its page was measured with.
    "digits.py": {
        **NESTEROV,
        "batch_size": 64,
        "loss.name": None,
        "loss.label_smoothing": 0.1,
        "ema.decay": 0.99,
        "optimizer.weight_decay": 5e-4,
        "model.name": "resnet20",
        "augment.shift": 1.0,
        "augment.rotate": 10.0,
        "augment.scale": 0.1,
    },
    # Ours.
    "finetune.py": {
        **PLAIN,
        **NESTEROV,
        "batch_size": 64,
        "loss.label_smoothing": 0.1,
        "ema.decay": 0.99,
        "optimizer.weight_decay": 1e-4,
        "optimizer.clip_norm": 5.0,
        "finetune.weights": "a1_in1k",
        "finetune.frozen_stages": 2,
        "finetune.rate_decay": 0.7,
        "model.name": "resnet50",
        "data.crop_area": (0.25, 1.0),
    },
    "imagenet_fast.py": {
        **PLAIN,
        **IMAGENET,
        **SGD,
        "batch_size": 8 * 512,
        "loss.label_smoothing": 0.1,
        "ema": None,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_on": "not_norms",
        "model.name": "resnetblur50",
        "model.dtype": "bfloat16",
        "model.zero_init_last": False,
        "model.norm_group_size": 512,
        "resize.first": 160,
        "resize.multiple": 32,
        "data.image_size": 192,
        "data.crop_fraction": 224 / 256,
        "data.interpolation": "bilinear",
        "data.mean": (0.485, 0.456, 0.406),
        "data.std": (0.229, 0.224, 0.225),
        "data.repeats": 1,
    },
    "imagenet_resnet50.py": {
        **PLAIN,
        **IMAGENET,
        **SGD,
        "batch_size": 8 * 32,
        "ema": None,
        "optimizer.weight_decay": 1e-4,
        "optimizer.decay_on": "all",
        "model.name": "resnet50",
        "model.dtype": "float32",
        "model.zero_init_last": False,
        "model.norm_group_size": 32,
        "data.repeats": 1,
    },
    "imagenet_rsb.py:a1": rsb(
        decay=0.01, smoothing=0.1, mixup=0.2, magnitude=7, repeats=3, drop_path=0.05
    ),
    "imagenet_rsb.py:a2": rsb(
        decay=0.02, smoothing=0.0, mixup=0.1, magnitude=7, repeats=3, drop_path=0.05
    ),
    "imagenet_rsb.py:a3": rsb(
        decay=0.02, smoothing=0.0, mixup=0.1, magnitude=6, repeats=1, drop_path=0.0
    ),
    "imagenet_torchvision_v2.py": {
        **PLAIN,
        **IMAGENET,
        **SGD,
        **ALTERNATING,
        "batch_size": 8 * 128,
        "loss.label_smoothing": 0.1,
        # train.py: 1 - (1 - 0.99998) * world_size * batch_size * steps / epochs.
        "ema.every": 32,
        "ema.decay": pytest.approx(1 - 2e-5 * 8 * 128 * 32 / 600, abs=1e-12),
        "optimizer.weight_decay": 2e-5,
        "optimizer.decay_on": "not_norms",
        "model.name": "resnet50",
        "model.dtype": "float32",
        "model.zero_init_last": False,
        "model.norm_group_size": 128,
        "augment.policy": "trivialaugment",
        "augment.erase": 0.1,
        "augment.erase_mode": "mean",
        "augment.mixup": 0.2,
        "augment.mix_group_size": 128,
        "data.repeats": 4,
    },
}

WEIGHTS = {
    "finetune.py": "resnet50.a1_in1k",
    "imagenet_resnet50.py": "resnet50.tv_in1k",
    "imagenet_rsb.py:a1": "resnet50.a1_in1k",
    "imagenet_rsb.py:a2": "resnet50.a2_in1k",
    "imagenet_rsb.py:a3": "resnet50.a3_in1k",
    "imagenet_torchvision_v2.py": "resnet50.tv2_in1k",
}


@pytest.mark.parametrize("recipe", SETTINGS)
def test_settings_are_those_of_the_source(recipe):
    config = load_recipe(f"configs/{recipe}")
    settings = {field: operator.attrgetter(field)(config) for field in SETTINGS[recipe]}
    assert settings == SETTINGS[recipe]


@pytest.mark.parametrize("recipe", WEIGHTS)
def test_images_are_those_of_the_published_weights(recipe):
    data = load_recipe(f"configs/{recipe}").data
    record = pretrained_info(WEIGHTS[recipe]).preprocessing
    assert (data.mean, data.std) == (record.mean, record.std)
    assert (data.image_size, data.interpolation) == (record.size, record.interpolation)
    # timm rounds torchvision's second fraction, 224 / 232, to 0.965: what counts is the 232.
    larger = record.test_size == 224
    fraction = record.test_crop_fraction if larger else record.crop_fraction
    assert int(224 / data.crop_fraction) == int(224 / fraction)


def test_selection_never_sees_the_test_split():
    config = load_recipe("configs/cifar10_he2015.py:resnet20,select").data
    assert (config.train_split, config.validation_split) == ("train[:45000]", "train[45000:]")
    assert load_recipe("configs/cifar10_he2015.py").data.validation_split is None


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("cifar10_he2015.py:resnet20,selct", "after the comma comes 'select'"),
        ("imagenet_rsb.py:a4", "a1, a2 or a3"),
        ("imagenet_fast.py:2", "the rate rises for 2 epochs; give 3 or more"),
    ],
)
def test_an_argument_that_cannot_be_used_is_explained(recipe, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(f"configs/{recipe}")

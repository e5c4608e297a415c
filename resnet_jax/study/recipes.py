"""How the networks of a study are trained: one recipe for each budget."""

from __future__ import annotations

import dataclasses

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.recipe.config import (
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)


def digits_recipe() -> TrainConfig:
    """Returns the recipe of the embedded form: 8 epochs over 1,437 digits, 22 steps each.

    The images are not augmented, so the training error is that of the original images. At this
    learning rate, residual networks of 110 layers also train; at 0.05 they diverge.
    """
    return TrainConfig(
        epochs=8,
        batch_size=64,
        eval_batch_size=360,
        model=ModelConfig(num_classes=10, in_features=1),
        data=DataConfig(name="digits", train_split="train+validation", validation_split=None),
        optimizer=OptimizerConfig(learning_rate=0.02, weight_decay=1e-4),
        schedule=ScheduleConfig(name="cosine", warmup_epochs=1),
    )


def paper_recipe() -> TrainConfig:
    """Returns the recipe of He et al. 2015, section 4.2, with a warm-up epoch for all depths.

    164 epochs of 50,000 images are the paper's 64,000 steps of 128.
    """
    return TrainConfig(
        epochs=164,
        batch_size=128,
        eval_batch_size=250,
        model=ModelConfig(num_classes=10, in_features=3),
        data=DataConfig(
            name="cifar10",
            validation_split=None,
            mean=CIFAR_MEAN,
            std=CIFAR_STD,
            in_memory=True,
        ),
        augment=AugmentConfig(pad_crop=4, flip=0.5),
        optimizer=OptimizerConfig(learning_rate=0.1, weight_decay=1e-4),
        schedule=ScheduleConfig(name="step", warmup_epochs=1),
    )


def two_core_recipe() -> TrainConfig:
    """Returns the recipe for two CPU cores: that of the paper with 40 epochs and smaller networks.

    The networks have a quarter of the widths. Their images have 16 pixels, with half of the
    padding. A step of such a network is too small to be split over the cores: on two devices it
    takes a fifth longer than on one.
    """
    paper = paper_recipe()
    return dataclasses.replace(
        paper,
        epochs=40,
        model=dataclasses.replace(paper.model, width=0.25),
        data=dataclasses.replace(paper.data, device_resident=True),
        augment=dataclasses.replace(paper.augment, pad_crop=2),
        mesh=MeshConfig(devices=1),
    )

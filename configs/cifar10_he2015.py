"""CIFAR-10 as in the paper of 2015: 6n + 2 layers, 64k iterations, one learning rate for all.

Command:   python train.py --config=configs/cifar10_he2015.py:resnet20
           python train.py --config=configs/cifar10_he2015.py:resnet20,select
Argument:  resnet20, 32, 44, 56, 110, 1202, their plain twins, or any other network for CIFAR.
           `,select` keeps 5,000 of the 50,000 training images as a validation split, for choosing
           settings; without it the run trains on all of them, and its test error is to be reported.
Hardware:  one accelerator; resnet20 takes 1.0e15 multiply-adds (41 million per image
           forward, three times that with the gradients)
Time:      not yet measured
Source:    He et al., Deep Residual Learning for Image Recognition, 2015, section 4.2 and table 6
Published: test error 8.75% (20), 7.51% (32), 7.17% (44), 6.97% (56), 6.43% (110, the best of five
           runs; their mean is 6.61%), 7.93% (1202)
Result:    not yet run

From the paper: SGD with momentum 0.9, weight decay 1e-4 on every parameter, batch 128, learning
rate 0.1, a tenth of it after 32k and 48k iterations, 4 pixels of padding, random crops and flips.
From 110 layers on, the rate is 0.01 for the first 400 iterations. Differences: the paper subtracts
the mean of each pixel, while this recipe uses the mean and deviation of each channel; the paper
warms up until the training error is below 80%, "about 400 iterations"; and it trains on two GPUs,
so its BatchNorms see 64 images, not 128 (--config.model.norm_group_size=64 does the same).
"""

import re

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import (
    CheckpointConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(choice: str = "resnet20") -> TrainConfig:
    """Returns the recipe for a network, with or without a validation split."""
    name, comma, mode = choice.partition(",")
    if comma and mode != "select":
        raise ConfigError(f"argument {choice!r}: after the comma comes 'select' or nothing")
    train, validation = ("train[:45000]", "train[45000:]") if mode else ("train", None)
    deep = max(map(int, re.findall(r"\d+", name)), default=0) >= 110
    return TrainConfig(
        steps=64_000,
        batch_size=128,
        eval_batch_size=500,
        model=ModelConfig(name=name),
        data=DataConfig(
            name="cifar10",
            train_split=train,
            validation_split=validation,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        augment=AugmentConfig(pad_crop=4, flip=0.5),
        optimizer=OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=ScheduleConfig(
            name="step",
            milestones=(0.5, 0.75),
            warmup_steps=400 if deep else 0,
            warmup_start=0.1,
            warmup_shape="constant",
        ),
        eval_every_epochs=5,
        checkpoint=CheckpointConfig(every_epochs=5),
    )

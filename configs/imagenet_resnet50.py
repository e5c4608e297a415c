"""ResNet-50 on ImageNet in 90 epochs: the recipe behind torchvision's first weights.

Command:   python train.py --config=configs/imagenet_resnet50.py
Argument:  another network, such as resnet18, 34, 101 or 152
Hardware:  8 accelerators with 16 GB, or fewer with --config.accumulation=2 or more
Time:      1.9 h on 8 A100 at NVIDIA's published 16,621 images/s (derived); not yet measured here
Source:    torchvision references/classification, V1 weights; Goyal et al. for the schedule
Published: top-1 76.156% (resnet50), 69.752% (18), 73.298% (34), 77.404% (101), 78.330% (152)
Result:    not yet run

SGD with momentum 0.9, weight decay 1e-4 on every parameter, batch 256, learning rate 0.1, a tenth
of it after each 30 epochs, random resized crops of 224 and flips, no zero-initialised scales.
BatchNorm sees groups of 32 images, as each of torchvision's 8 GPUs did.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.config import (
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(name: str = "resnet50") -> TrainConfig:
    """Returns the recipe for a network."""
    return TrainConfig(
        epochs=90,
        batch_size=256,
        eval_batch_size=512,
        model=ModelConfig(name=name, num_classes=1000, norm_group_size=32),
        data=DataConfig(
            name="imagenet2012",
            validation_split=None,
            test_split="validation",
            channels=3,
            image_size=224,
            crop_fraction=0.875,
            interpolation="bilinear",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            workers=8,
        ),
        augment=AugmentConfig(flip=0.5),
        optimizer=OptimizerConfig(learning_rate=0.1, momentum=0.9, weight_decay=1e-4),
        schedule=ScheduleConfig(name="step", milestones=(1 / 3, 2 / 3)),
        log_every_steps=200,
    )

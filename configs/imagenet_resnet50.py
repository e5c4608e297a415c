"""ResNet-50 on ImageNet in 90 epochs: the recipe of torchvision's first weights.

Command:   python train.py --config=configs/imagenet_resnet50.py
Argument:  another network, such as resnet18, 34, 101 or 152
Hardware:  8 accelerators with 16 GB, or fewer with --config.accumulation=2 or more
Time:      1.9 h on 8 A100 at NVIDIA's published 16,621 images/s in mixed precision (derived), with
           --config.model.dtype=bfloat16; not yet measured here
Source:    torchvision references/classification, README.md ("ResNet") and the defaults of train.py
Published: top-1 76.130% (resnet50), 69.758% (18), 73.314% (34), 77.374% (101), 78.312% (152) by
           torchvision; 76.156%, 69.752%, 73.298%, 77.404%, 78.330% in timm's results table
Result:    not yet run

SGD with momentum 0.9, weight decay 1e-4 on every parameter, batch 256, learning rate 0.1, a tenth
of it after 30 and after 60 epochs, random resized crops of 224 and flips, tested on 224 of 256,
float32, no zero-initialised scales. BatchNorm sees groups of 32 images, as each of torchvision's 8
GPUs did; on 8 chips each holds a group, so that no statistics are exchanged. Difference: an epoch
is 5,004 full batches; torchvision adds an incomplete 5,005th.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.recipe.config import (
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
        model=ModelConfig(name=name, norm_group_size=32),
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

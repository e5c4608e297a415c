"""ResNet-50 on ImageNet in 600 epochs: the recipe of torchvision's second weights.

Command:   python train.py --config=configs/imagenet_torchvision_v2.py
           python train.py --mode=eval --workdir=runs/imagenet_torchvision_v2 \
               --config.data.image_size=224
Argument:  another network, such as resnet101
Hardware:  8 accelerators with 24 GB
Time:      42 h in float32 on 8 GPUs (pytorch/vision pull request 6433); with
           --config.model.dtype=bfloat16 7.9 h on 8 A100 at NVIDIA's published 16,621 images/s at
           224, scaled to 176 (derived); not yet measured here
Source:    torchvision references/classification/train.py with the flags of pytorch/vision issue
           3995, comment 1013906621; V. Vryniotis, "How to Train State-Of-The-Art Models Using
           TorchVision's Latest Primitives", PyTorch blog, 2021
Published: top-1 80.858% (torchvision), 80.846% (timm's results table)
Result:    not yet run

SGD with momentum 0.9, learning rate 0.5, batch 1024, cosine to 0 after 5 epochs of warm-up from a
hundredth, decay 2e-5 on all but norms, label smoothing 0.1, mixup 0.2 or CutMix 1 with equal
probability, TrivialAugment, random erasing 0.1, repeated augmentation 4, crops of 176 for training
and of 224 out of 232 for the test, float32, an average every 32 steps. BatchNorm and mixup see
groups of 128 images, as on each of torchvision's 8 GPUs; 8 chips hold a group each, and
exchange neither statistics nor images. torchvision's decay of the average,
0.99998, is scaled by batch * 32 / epochs to 0.99891. Differences: the learning rate changes every
step (torchvision: every epoch); the average warms up gradually, while torchvision's is a copy of
the weights for 5 epochs; an erased part is at most a third of the image (torchvision: 0.33).
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.recipe.config import (
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(name: str = "resnet50") -> TrainConfig:
    """Returns the recipe for a network."""
    epochs, batch_size, ema_steps = 600, 1024, 32
    return TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        eval_batch_size=1024,
        model=ModelConfig(name=name, norm_group_size=128),
        data=DataConfig(
            name="imagenet2012",
            validation_split=None,
            test_split="validation",
            repeats=4,
            channels=3,
            image_size=176,
            crop_fraction=224 / 232,
            interpolation="bilinear",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            workers=16,
        ),
        augment=AugmentConfig(
            flip=0.5,
            policy="trivialaugment",
            erase=0.1,
            mixup=0.2,
            cutmix=1.0,
            mix_group_size=128,
        ),
        optimizer=OptimizerConfig(
            learning_rate=0.5, momentum=0.9, weight_decay=2e-5, decay_on="not_norms"
        ),
        schedule=ScheduleConfig(name="cosine", warmup_epochs=5, warmup_start=0.01),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=1 - (1 - 0.99998) * batch_size * ema_steps / epochs, every=ema_steps),
        log_every_steps=100,
    )

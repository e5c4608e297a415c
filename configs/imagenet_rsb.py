"""ResNet-50 on ImageNet as in "ResNet strikes back": LAMB, BCE, strong augmentation.

Command:   python train.py --config=configs/imagenet_rsb.py:a1
           python train.py --config=configs/imagenet_rsb.py:a3
           python train.py --mode=eval --workdir=runs/imagenet_rsb_a3 --config.data.image_size=224
Argument:  a1 (600 epochs), a2 (300) or a3 (100, images of 160, tested at 224 by the third command)
Hardware:  8 accelerators with 32 GB; a3 also 4 with 16 GB and --config.accumulation=4
Time:      a1 4.6 days on 4 V100 (the paper); a1 12.9 h, a2 6.4 h, a3 1.1 h on 8 A100 at NVIDIA's
           published 16,621 images/s at 224 (derived); not yet measured here
Source:    Wightman, Touvron and Jegou, ResNet strikes back, 2021, table 2; timm's train.py, loss,
           optimizer, schedule and sampler
Published: top-1 80.382% (a1), 79.828% (a2), 78.052% (a3; 75.994% at 160); at 288, uncropped,
           81.240% (a1) and 80.774% (a2); timm's results table
Result:    not yet run

From the paper: LAMB, batch 2048, learning rate 5e-3 (8e-3), decay 0.01 (0.02), cosine after 5
epochs of warm-up, BCE on mixed targets, RandAugment 7/0.5 (6/0.5), mixup 0.2 (0.1), CutMix 1,
repeated augmentation 3 and stochastic depth 0.05 (not a3), label smoothing 0.1 (a1), crop fraction
0.95, mixed precision; figures in brackets where a2 or a3 differ. BatchNorm and mixup see groups of
512 images, as on each of the four GPUs that a1 was trained on. On 8 chips a group spans two, which
exchange statistics and images (39 MB a step); --config.model.norm_group_size=256 with
--config.augment.mix_group_size=256 avoids both, and differs from the paper.

From timm: LAMB clips the gradient to norm 1 and adapts only decayed parameters; the warm-up starts
at 1e-4, the cosine starts at the first step and ends at 1e-6; each batch gets mixup or CutMix with
equal probability; scales at the end of a branch start at zero. BCE's threshold of 0.2 and bicubic
crops are those of the A2 command in Alibaba-MIIL/ML_Decoder. The threshold applies to smoothed
targets, so a1's smoothing only moves it to a share of 0.222.

Ours: the learning rate changes every step (timm: every epoch), and there is a moving average, with
timm's default decay; published commands of A2 have none, and --config.ema=none switches it off.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.errors import ConfigError, nearest
from resnet_jax.training.recipe.config import (
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)

EPOCHS = {"a1": 600, "a2": 300, "a3": 100}


def get_config(procedure: str = "a2") -> TrainConfig:
    """Returns one of the three procedures."""
    if procedure not in EPOCHS:
        hint = nearest(procedure, EPOCHS)
        raise ConfigError(f"unknown procedure {procedure!r}: choose a1, a2 or a3.{hint}")
    first, short = procedure == "a1", procedure == "a3"
    rate = 8e-3 if short else 5e-3
    return TrainConfig(
        epochs=EPOCHS[procedure],
        batch_size=2048,
        eval_batch_size=1024,
        model=ModelConfig(
            name="resnet50",
            zero_init_last=True,
            drop_path_rate=0.0 if short else 0.05,
            norm_group_size=512,
            dtype="bfloat16",
        ),
        data=_data(repeats=1 if short else 3, size=160 if short else 224),
        augment=AugmentConfig(
            flip=0.5,
            policy="randaugment_increasing",
            policy_magnitude=6 if short else 7,
            policy_spread=0.5,
            mixup=0.2 if first else 0.1,
            cutmix=1.0,
            mix_group_size=512,
        ),
        optimizer=OptimizerConfig(
            name="lamb",
            learning_rate=rate,
            weight_decay=0.01 if first else 0.02,
            decay_on="matrices",
            clip_norm=1.0,
        ),
        schedule=ScheduleConfig(
            name="cosine",
            warmup_epochs=5,
            warmup_start=1e-4 / rate,
            from_start=True,
            end=1e-6 / rate,
        ),
        loss=LossConfig(name="bce", bce_threshold=0.2, label_smoothing=0.1 if first else 0.0),
        ema=EmaConfig(decay=0.9998),
        log_every_steps=100,
    )


def _data(*, repeats: int, size: int) -> DataConfig:
    return DataConfig(
        name="imagenet2012",
        validation_split=None,
        test_split="validation",
        repeats=repeats,
        channels=3,
        image_size=size,
        crop_fraction=0.95,
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        workers=16,
    )

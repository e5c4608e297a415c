"""ResNet-50 on ImageNet in 16 epochs, as ffcv does it: small images first, blur pooling, flips.

Command:   python train.py --config=configs/imagenet_fast.py
           resnet-jax eval --workdir=runs/imagenet_fast --tta=flip --config.data.image_size=256
Argument:  the number of epochs (16), the budget that the schedule is stretched over
Hardware:  8 accelerators with 40 GB, or fewer with --config.accumulation=2 to 8
Time:      ffcv's is 14.9 min on 8 A100; not yet measured here
Source:    libffcv/ffcv-imagenet, rn50_configs/rn50_16_epochs.yaml to rn50_88_epochs.yaml, and
           train_imagenet.py
Published: 73.8% in 16 epochs, 75.6% in 24, 76.6% in 32, 77.2% in 40, 78.0% in 56 and 78.4% in 88,
           with flips at test time
Result:    not yet run

SGD with momentum 0.9, batch 4096 (512 on each of 8 GPUs, which is the batch of BatchNorm, so that 8
chips exchange no statistics), learning rate 1.7 after 2 epochs of warm-up from a ten-thousandth,
then linear to 0, decay 1e-4 on all but norms, label smoothing 0.1, images of 160 pixels for three
quarters of the run and then of 192, half precision, tested at 256 of 292. Differences: ffcv blurs
before each strided convolution, while this recipe blurs after the activation that follows it and in
the stem's pool, as timm's resnetblur50 does; images are cropped at 192 and shrunk to 160 on the
accelerator; in runs of other lengths than 16 epochs they grow in the middle of ffcv's ramp, while
ffcv waits for the end of the epoch.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.training.recipe.config import (
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ResizeConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(epochs: str = "16") -> TrainConfig:
    """Returns the recipe for a number of epochs."""
    length = int(epochs)
    if length < 3:
        raise ConfigError(f"argument {epochs!r}: the rate rises for 2 epochs; give 3 or more")
    return TrainConfig(
        epochs=length,
        batch_size=4096,
        eval_batch_size=1024,
        model=ModelConfig(name="resnetblur50", norm_group_size=512, dtype="bfloat16"),
        data=DataConfig(
            name="imagenet2012",
            validation_split=None,
            test_split="validation",
            channels=3,
            image_size=192,
            crop_fraction=0.875,
            interpolation="bilinear",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            workers=16,
        ),
        augment=AugmentConfig(flip=0.5),
        optimizer=OptimizerConfig(
            learning_rate=1.7, momentum=0.9, weight_decay=1e-4, decay_on="not_norms"
        ),
        schedule=ScheduleConfig(name="linear", warmup_epochs=2, warmup_start=1e-4),
        # In each of ffcv's files the ramp is [3/4, 7/8] of the epochs, one epoch earlier.
        resize=ResizeConfig(first=160, begin=3 / 4 - 1 / length, end=7 / 8 - 1 / length),
        loss=LossConfig(label_smoothing=0.1),
        log_every_steps=100,
    )

"""Pretrained weights on your own dataset: frozen stages, slower early stages, a new head.

Command:   python train.py --config=configs/finetune.py --config.data.name=folder:PATH \
               --config.data.test_split=test
Argument:  network and weights: resnet50.a1_in1k (a tag of published ones), or resnet20.FILE.th
Hardware:  one accelerator with 8 GB; a CPU works, but is slow
Time:      not yet measured
Source:    ours; rates that fall from stage to stage are those of Howard and Ruder, Universal
           Language Model Fine-tuning, section 3.2, and of timm's layer decay
Published: none
Result:    not yet run

Without other flags it learns the 102 flowers of Oxford (TFDS). The stem and the first stage are
frozen, with the statistics of their BatchNorms; each stage has 0.7 times the learning rate of the
next. --config.finetune.frozen_stages=0 trains everything, 5 only the head.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.recipe.config import (
    EmaConfig,
    FinetuneConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(start: str = "resnet50.a1_in1k") -> TrainConfig:
    """Returns the recipe for a network and its weights."""
    name, _, weights = start.partition(".")
    return TrainConfig(
        epochs=30,
        batch_size=64,
        halve_batch=True,
        eval_batch_size=64,
        model=ModelConfig(name=name, dtype="bfloat16"),
        data=DataConfig(
            name="oxford_flowers102",
            channels=3,
            image_size=224,
            crop_area=(0.25, 1.0),
            crop_fraction=0.95,
            interpolation="bicubic",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            workers=4,
        ),
        augment=AugmentConfig(flip=0.5),
        optimizer=OptimizerConfig(
            learning_rate=0.02, nesterov=True, weight_decay=1e-4, decay_on="matrices", clip_norm=5.0
        ),
        schedule=ScheduleConfig(name="cosine", warmup_epochs=1),
        finetune=FinetuneConfig(weights=weights or None, frozen_stages=2, rate_decay=0.7),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=0.99),
    )

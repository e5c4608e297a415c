"""CIFAR-10 in few epochs: a wide residual network and the ideas of the speed runs.

Command:   python train.py --config=configs/cifar10_fast.py
           resnet-jax eval --workdir=runs/cifar10_fast --tta=flip
Argument:  the number of epochs (30), the budget that the schedule is stretched over
Hardware:  one accelerator with 8 GB; 7e15 multiply-adds, 14 PFLOP as airbench counts them
Time:      not yet measured; python -m benchmarks.cifar10_fast cifar10 does it
Source:    ours, after the speed runs (KellerJordan/cifar10-airbench and its predecessors)
Published: for comparison, airbench's README, on one A100: 94% in 2.67 s, 95% in 10.4 s, 96% in
           27.3 s (3.1 PFLOP); a standard ResNet-18 reaches 96% there in 7 min (32.3 PFLOP)
Result:    not yet run

It uses one cycle of the learning rate, Nesterov momentum, large decay on matrices only, label
smoothing, moving averages, crops, flips and random erasing, and flips at test time. The learning
rate, the momentum and the decay are those of wide residual networks (Zagoruyko and Komodakis, 2016:
0.1 for 128 images, 0.9, 5e-4), scaled to batches of 512; airbench's values are for its own network.
"""

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.training.recipe.config import (
    CheckpointConfig,
    EmaConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainConfig,
)


def get_config(epochs: str = "30") -> TrainConfig:
    """Returns the recipe for a number of epochs."""
    return TrainConfig(
        epochs=int(epochs),
        batch_size=512,
        eval_batch_size=1000,
        model=ModelConfig(name="wide_resnet16_8", dtype="bfloat16"),
        data=DataConfig(
            name="cifar10",
            validation_split=None,
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
        ),
        augment=AugmentConfig(pad_crop=4, flip=0.5, erase=0.5),
        optimizer=OptimizerConfig(
            learning_rate=0.4, nesterov=True, weight_decay=5e-4, decay_on="matrices"
        ),
        schedule=ScheduleConfig(name="onecycle", warmup_epochs=0.25 * int(epochs)),
        loss=LossConfig(label_smoothing=0.1),
        ema=EmaConfig(decay=0.995),
        checkpoint=CheckpointConfig(every_epochs=5),
    )

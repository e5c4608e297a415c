"""The settings of a training run, as typed values.

A recipe builds one `TrainConfig`. `resnet_jax.training.recipe.overrides` checks it, applies the
overrides of the command line and writes it to JSON. This file, `optimization` and
`resnet_jax.data.config` are the only places for the fields and their defaults.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import user_path
from resnet_jax.training.recipe.loss import LossConfig
from resnet_jax.training.recipe.optimization import (
    EmaConfig,
    ExtensionConfig,
    Fraction,
    OptimizerConfig,
    ScheduleConfig,
)

# Recipes import every section from here, except those of `resnet_jax.data.config`.
__all__ = [
    "CheckpointConfig",
    "EarlyStoppingConfig",
    "EmaConfig",
    "ExtensionConfig",
    "FinetuneConfig",
    "LossConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ResizeConfig",
    "ScheduleConfig",
    "TrainConfig",
]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network to train.

    Attributes:
        name: A name of `resnet_jax.zoo.list_models()`.
        num_classes: The number of logits; None takes one for each class of the dataset.
        unused_outputs: Whether there may be more logits than the dataset has classes.
        in_features: Channels of the input images; None takes those of the dataset.
        width: Factor of the widths of the stem and the stages; 0.25 is a quarter of the features.
        zero_init_last: Whether the last BatchNorm scale of each block starts at zero.
        drop_path_rate: Probability of dropping the last block's branch; it rises linearly from 0.
        dropout_rate: Probability of dropping an input of the classifier.
        global_pool: What the classifier gets of the last map: its mean, its maximum, the mean of
            both (avgmax) or both (catavgmax).
        norm_group_size: Images that share BatchNorm statistics; None uses the global batch.
        unbiased_variance: Whether the running variance is scaled by n / (n - 1), as in PyTorch.
        fold_norms: Whether a norm is folded into a widening 1x1 convolution before it, in training
            and in bfloat16: less memory traffic, a little more arithmetic. See docs/decisions.md.
        dtype: Dtype of the computation. Parameters, statistics, logits and loss stay float32.
        remat: Whether the backward pass computes each block again, rather than keep its maps: less
            memory for about a third more work.
    """

    name: str = "resnet20"
    num_classes: PositiveInt | None = None
    unused_outputs: bool = False
    in_features: PositiveInt | None = None
    width: PositiveFloat = 1.0
    zero_init_last: bool = False
    drop_path_rate: Fraction = 0.0
    dropout_rate: Fraction = 0.0
    global_pool: Literal["avg", "max", "avgmax", "catavgmax"] = "avg"
    norm_group_size: PositiveInt | None = None
    unbiased_variance: bool = False
    fold_norms: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: bool = False

    def sizes(self) -> tuple[int, int]:
        """Returns the number of logits and of image channels.

        Raises:
            ConfigError: One of them is to be taken from a dataset, and none has been opened.
        """
        if self.num_classes is None or self.in_features is None:
            field = "num_classes" if self.num_classes is None else "in_features"
            raise ConfigError(
                f"model.{field}=None is taken from the dataset; where there is none, give a number"
            )
        return self.num_classes, self.in_features


@dataclasses.dataclass(frozen=True)
class FinetuneConfig:
    """The trained weights to start from, and which parts are trained.

    Attributes:
        weights: A file (`.safetensors`, `.pth`), the folder of a run, the tag of published weights
            such as `a1_in1k`, or None to start at random. If the number of classes differs, the
            head is new.
        step: For a run: the checkpoint to start from, or `best`; None takes the last one.
        frozen_stages: Number of frozen parts, from the input: 1 is the stem, 2 the stem and the
            first stage, and so on. Their BatchNorms use their running statistics unchanged.
        rate_decay: Factor of the learning rate from each stage to the one before; the head has 1.
    """

    weights: str | None = None
    step: PositiveInt | Literal["best"] | None = None
    frozen_stages: NonNegativeInt = 0
    rate_decay: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.weights is not None:
            user_path(self.weights)


@dataclasses.dataclass(frozen=True)
class ResizeConfig:
    """Progressive resizing: the accelerator shrinks images, less and less during the run.

    Attributes:
        first: Height and width of the images until `begin`; after `end` they have their full size.
        begin: When they start to grow, as a fraction of the run.
        end: When they reach their full size, as a fraction of the run.
        multiple: Every size is a multiple of this; each one is compiled once.
    """

    first: PositiveInt
    begin: Fraction = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 0.8
    multiple: PositiveInt = 32


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and which of them are kept.

    Attributes:
        every_epochs: Epochs from one to the next; the last step always gets one.
        every_steps: Steps from one to the next, instead of `every_epochs`.
        keep_latest: How many of the newest are kept.
        keep_best: How many of the best on the validation split are kept in addition.
    """

    every_epochs: PositiveInt = 1
    every_steps: PositiveInt | None = None
    keep_latest: PositiveInt = 2
    keep_best: NonNegativeInt = 1


@dataclasses.dataclass(frozen=True)
class EarlyStoppingConfig:
    """Ends a run that no longer improves on the validation split.

    The learning rate is that of the whole run up to there.

    Attributes:
        patience: Evaluations in a row without an improvement; then the run ends.
        metric: What has to improve: `validation_accuracy` rises, or for images with several classes
            `validation_mean_average_precision`, or `validation_loss` falls.
        least_change: Smaller changes are no improvement.
    """

    patience: PositiveInt = 5
    metric: Literal[
        "validation_accuracy", "validation_mean_average_precision", "validation_loss"
    ] = "validation_accuracy"
    least_change: NonNegativeFloat = 0.0


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The devices that share the work.

    Attributes:
        devices: How many devices to use; None takes all.
        fsdp: Whether each device holds only a part of the parameters and of the optimizer state.
        deterministic: Whether GPUs use only operations that add in a fixed order, which may be
            slower (XLA's `xla_gpu_deterministic_ops`). CPUs and TPUs have no others.
    """

    devices: PositiveInt | None = None
    fsdp: bool = False
    deterministic: bool = False


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole run. Equal configs on equal devices of one kind give bit-identical results.

    On GPUs that takes `mesh.deterministic`.

    Attributes:
        seed: Seed of the initial weights, the order of the data and all other random numbers.
        epochs: Passes over the training split.
        steps: Length of the run in steps, instead of `epochs`.
        batch_size: Images per step, over all devices.
        halve_batch: Whether a batch that is larger than the training split is halved until it fits.
            Otherwise it is refused.
        accumulation: Parts of the batch that a step processes one after another, to save memory.
            The gradient is that of the whole batch; only BatchNorm sees one part at a time.
        eval_batch_size: Images per evaluation step; it does not change the result.
        model: The network.
        data: The dataset and its splits.
        augment: Random changes to the training images.
        optimizer: The update rule.
        schedule: The learning rate over the run.
        loss: What a step minimises.
        finetune: Trained weights to start from, or None.
        resize: Progressive resizing, or None.
        ema: The moving average, or None to evaluate the live parameters.
        max_skipped: The most steps in a row with a non-finite loss or gradient; then the run stops.
        log_every_steps: Steps from one record of metrics to the next.
        eval_every_epochs: Epochs from one evaluation on the validation split to the next.
        early_stopping: When to end before the last step, or None.
        checkpoint: When to save.
        mesh: The devices to run on.
    """

    # Read by pydantic, for this class and every dataclass below it.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )

    seed: NonNegativeInt = 0
    epochs: PositiveInt = 1
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 128
    halve_batch: bool = False
    accumulation: PositiveInt = 1
    eval_batch_size: PositiveInt = 256
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    finetune: FinetuneConfig | None = None
    resize: ResizeConfig | None = None
    ema: EmaConfig | None = None
    max_skipped: PositiveInt = 20
    log_every_steps: PositiveInt = 50
    eval_every_epochs: PositiveInt = 1
    early_stopping: EarlyStoppingConfig | None = None
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Returns the length of the run in steps."""
        return self.steps or self.epochs * steps_per_epoch

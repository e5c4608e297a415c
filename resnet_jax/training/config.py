"""Everything that decides a training run, as typed values.

A recipe builds one `TrainConfig`. `resnet_jax.training.validation` checks it, applies the overrides
of the command line and writes it to JSON; this file holds the fields and their defaults, once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from resnet_jax.data.config import AugmentConfig, DataConfig

Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network to train.

    Attributes:
        name: A name of `resnet_jax.zoo.list_models()`.
        num_classes: The number of logits.
        in_features: Channels of the input images.
        zero_init_last: Whether the last BatchNorm scale of each block starts at zero.
        drop_path_rate: Probability of dropping the last block's branch; earlier ones rise to it.
        dropout_rate: Probability of dropping an input of the classifier.
        norm_group_size: Images that share BatchNorm statistics; None takes the global batch.
        unbiased_variance: Whether the running variance is PyTorch's n / (n - 1) one.
        dtype: The type of the computation. Parameters, statistics, logits and loss stay float32.
    """

    name: str = "resnet20"
    num_classes: PositiveInt = 10
    in_features: PositiveInt = 3
    zero_init_last: bool = False
    drop_path_rate: Fraction = 0.0
    dropout_rate: Fraction = 0.0
    norm_group_size: PositiveInt | None = None
    unbiased_variance: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule.

    Attributes:
        name: `sgd` or `adamw`.
        learning_rate: The peak of the schedule.
        momentum: Weight of the old velocity in SGD.
        nesterov: Whether SGD looks ahead.
        betas: Weights of the old first and second moment in AdamW.
        epsilon: Added to the root of the second moment in AdamW.
        weight_decay: Strength of the decay.
        decay_mode: `l2` adds the decay to the gradient before momentum, as PyTorch's SGD does;
            `decoupled` adds it after the update rule and scales it by the learning rate.
        decay_on: `all` parameters, or `matrices`: those with more than one dimension, so that
            BatchNorm and biases stay free.
        clip_norm: Largest global norm of the gradient, or None.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 1e-4
    decay_mode: Literal["l2", "decoupled"] = "l2"
    decay_on: Literal["all", "matrices"] = "all"
    clip_norm: PositiveFloat | None = None


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run, relative to the optimizer's.

    Attributes:
        name: The shape after the warm-up.
        warmup_epochs: Length of the warm-up. One-cycle rises over this time.
        warmup_start: Learning rate at the first step, as a fraction of the peak.
        warmup_shape: `linear` rises to the peak; `constant` stays at `warmup_start` and then jumps.
        milestones: For `step`: the fractions of the run at which the rate drops.
        drop: For `step`: the factor of each drop.
        end: For `cosine`, `linear` and `onecycle`: the last rate, as a fraction of the peak.
    """

    name: Literal["constant", "step", "cosine", "linear", "onecycle"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    warmup_start: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup_shape: Literal["linear", "constant"] = "linear"
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    drop: Annotated[float, Field(gt=0, le=1)] = 0.1
    end: Annotated[float, Field(ge=0, le=1)] = 0.0


@dataclasses.dataclass(frozen=True)
class EmaConfig:
    """The moving average of parameters and statistics that is evaluated.

    Attributes:
        decay: Weight of the old average. After `t` updates it is at most `(1 + t) / (10 + t)`.
    """

    decay: Fraction = 0.999


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written, and which of them stay.

    Attributes:
        every_epochs: Epochs from one to the next; the last step always gets one.
        every_steps: Steps from one to the next, in place of `every_epochs`.
        keep_latest: How many of the newest stay.
        keep_best: How many of the best on the validation split stay besides.
    """

    every_epochs: PositiveInt = 1
    every_steps: PositiveInt | None = None
    keep_latest: PositiveInt = 2
    keep_best: NonNegativeInt = 1


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The devices that share the work.

    Attributes:
        devices: How many devices to use; None takes all.
    """

    devices: PositiveInt | None = None


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """A whole run. Two runs with equal configs on equal devices end bit for bit the same.

    Attributes:
        seed: Decides initial weights, order of the data and every random number.
        epochs: Passes over the training split.
        steps: Length of the run in steps, in place of `epochs`.
        batch_size: Images a step, over all devices.
        eval_batch_size: Images a step of evaluation; it does not change the result.
        model: The network.
        data: The dataset and its splits.
        augment: Random changes to the training images.
        optimizer: The update rule.
        schedule: The learning rate over the run.
        label_smoothing: Share of the target that is spread over all classes, in training alone.
        ema: The moving average, or None to evaluate the live parameters.
        max_skipped: Steps in a row with a loss or gradient that is not finite before the run stops.
        log_every_steps: Steps from one record of metrics to the next.
        eval_every_epochs: Epochs from one evaluation on the validation split to the next.
        checkpoint: When to save.
        mesh: Where to run.
    """

    # Read by pydantic, for this class and every dataclass below it.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False
    )

    seed: NonNegativeInt = 0
    epochs: PositiveInt = 1
    steps: PositiveInt | None = None
    batch_size: PositiveInt = 128
    eval_batch_size: PositiveInt = 256
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    label_smoothing: Fraction = 0.0
    ema: EmaConfig | None = None
    max_skipped: PositiveInt = 20
    log_every_steps: PositiveInt = 50
    eval_every_epochs: PositiveInt = 1
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)

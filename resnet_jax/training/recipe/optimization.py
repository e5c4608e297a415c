"""The part of a recipe that says how weights are updated: rule, learning rate and averages."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from resnet_jax.errors import ConfigError

Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule.

    Attributes:
        name: The rule; Muon uses Adam's, with Nesterov momentum, for the head and the vectors.
        learning_rate: The highest learning rate of the schedule.
        momentum: Weight of the old velocity in SGD, LARS and Muon.
        nesterov: Whether SGD and LARS use Nesterov momentum; Muon always does.
        betas: Weights of the old first and second moment in AdamW, LAMB and Muon's Adam; in Lion,
            of the update and of the momentum. None: (0.9, 0.99) for Lion, else (0.9, 0.999).
        epsilon: Added to the root of the second moment. None: 1e-6 for LAMB, else 1e-8.
        trust_coefficient: LARS's ratio of the step to the norm of a layer's weights.
        weight_decay: Strength of the decay.
        decay_mode: `l2` adds the decay to the gradient before the rule, as PyTorch's SGD does;
            `decoupled` adds it after the rule and scales it by the learning rate. None: `l2` for
            SGD and LARS, else `decoupled`.
        decay_on: `all` parameters; all but those of norms (`not_norms`); or `matrices`: those
            with more than one dimension, which also excludes biases. LARS and LAMB adapt the
            learning rate of the same parameters.
        clip_norm: Largest global norm of the gradient, or None.
    """

    name: Literal["sgd", "lars", "lamb", "adamw", "lion", "muon"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: Fraction = 0.9
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] | None = None
    epsilon: PositiveFloat | None = None
    trust_coefficient: PositiveFloat = 0.001
    weight_decay: NonNegativeFloat = 1e-4
    decay_mode: Literal["l2", "decoupled"] | None = None
    decay_on: Literal["all", "not_norms", "matrices"] = "all"
    clip_norm: PositiveFloat | None = None


@dataclasses.dataclass(frozen=True)
class ExtensionConfig:
    """The learning rate of the steps that a run got in addition.

    Attributes:
        shape: `constant` keeps the last learning rate; `cosine` falls anew, from `peak` to the
            schedule's `end`.
        begin: The steps that the run had before.
        peak: For `cosine`: its first learning rate, as a fraction of the optimizer's.
    """

    shape: Literal["constant", "cosine"]
    begin: PositiveInt
    peak: Annotated[float, Field(gt=0, le=1)] = 1.0


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """The learning rate over the run, relative to the optimizer's.

    Attributes:
        name: The shape after the warm-up.
        warmup_epochs: Length of the warm-up; for `onecycle`, of the rise.
        warmup_steps: The same in steps, instead of `warmup_epochs`.
        warmup_start: Learning rate at the first step, as a fraction of the optimizer's.
        warmup_shape: `linear` rises from `warmup_start` to 1; `constant` stays there, then jumps.
        from_start: Whether cosine and linear start at the first step, as in timm, so that the
            warm-up replaces their beginning. Otherwise they start after it.
        milestones: For `step`: the fractions of the run at which the learning rate drops.
        drop: For `step`: the factor of each drop.
        end: For `cosine`, `linear` and `onecycle`: the last learning rate, as a fraction of the
            optimizer's.
        extensions: What `--extend` added to a run: `shape`, `begin` and `peak` of each extension.
            The other fields refer to the run without them.
    """

    name: Literal["constant", "step", "cosine", "linear", "onecycle"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    warmup_steps: NonNegativeInt | None = None
    warmup_start: Annotated[float, Field(ge=0, le=1)] = 0.0
    warmup_shape: Literal["linear", "constant"] = "linear"
    from_start: bool = False
    milestones: tuple[Fraction, ...] = (0.5, 0.75)
    drop: Annotated[float, Field(gt=0, le=1)] = 0.1
    end: Annotated[float, Field(ge=0, le=1)] = 0.0
    extensions: tuple[ExtensionConfig, ...] = ()

    def ends(self, total_steps: int) -> tuple[int, ...]:
        """Lists the steps at which the run ended before each extension, and at which it ends.

        Args:
            total_steps: Number of steps in the run, with its extensions.

        Raises:
            ConfigError: The extensions do not follow each other within the run.
        """
        ends = (*(extension.begin for extension in self.extensions), total_steps)
        if list(ends) != sorted(set(ends)):
            begins = ", ".join(map(str, ends[:-1]))
            raise ConfigError(
                f"schedule.extensions begin after steps {begins} of {total_steps}: each must begin "
                "after the one before and before the end"
            )
        return ends


@dataclasses.dataclass(frozen=True)
class EmaConfig:
    """The moving average of parameters and statistics that is evaluated.

    Attributes:
        decay: Weight of the old average. After `t` updates it is at most `(1 + t) / (10 + t)`.
        every: Steps from one update of the average to the next.
    """

    decay: Fraction = 0.999
    every: PositiveInt = 1

"""What a recipe says about its data.

The types give the rule for each value, which `resnet_jax.training.recipe.overrides.validate`
checks, as for the rest of a recipe. Rules about several fields, or shared with other parts of the
package, are checked where the dataclass is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from resnet_jax.data.source_names import check_source_name
from resnet_jax.errors import ConfigError
from resnet_jax.local_paths import local_path, user_path
from resnet_jax.network_inputs import NetworkInputs, check_channels, check_statistics

MAX_PIXELS = 89_478_485
"""The default of `DataConfig.max_pixels`, and Pillow's own limit."""


def _check_ascending(numbers: tuple[float, float]) -> tuple[float, float]:
    if numbers[0] > numbers[1]:
        raise ValueError("give two numbers, the smaller first")
    return numbers


def _check_named(split: str) -> str:
    if not split.strip():
        raise ValueError("names no split; write one, such as 'train'")
    return split


_ASCENDING = AfterValidator(_check_ascending)

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
SplitName = Annotated[str, AfterValidator(_check_named)]

PolicyName = Literal[
    "randaugment",
    "randaugment_increasing",
    "trivialaugment",
    "autoaugment_imagenet",
    "autoaugment_cifar",
]


@dataclass(frozen=True)
class DataConfig:
    """Where the examples come from and how they are read.

    Attributes:
        name: `digits`, a dataset of TFDS (`cifar10`, `imagenet2012_subset/10pct`), or one of the
            forms in `resnet_jax.data.source_names.SOURCES`, such as `folder:PATH`.
        data_dir: Where prepared TFDS datasets lie. None: see `resnet_jax.data.sources.open_split`.
        cache_dir: Where files of a bucket are kept after they were read, on a disk of this machine.
            None: a folder in the user's cache.
        cache_gigabytes: The most that they take there; those that were not used for the longest
            time are removed. The processes of a machine share it.
        repeats: How often an example stands in a batch, each time with other random changes; an
            epoch then has the same number of steps and a part of the examples (repeated
            augmentation).
        straddle_epochs: Whether the last batch of an epoch is filled from the next one; otherwise
            the examples that fill no batch are left out.
        sampling: `uniform` goes through all examples in each epoch; `balanced` draws as many of
            each class: those of rare classes several times, and only some of frequent ones.
        train_split: Split that is trained on, in TFDS syntax: `train`, `train[:90%]`,
            `train+validation`.
        validation_split: Split for choices made while training; None for none, as where the data
            have no `validation`.
        test_split: Split that is reported at the end; it chooses nothing. Where the data have no
            `test`, `validation` is reported.
        channels: 1 or 3 converts the images; None leaves them as the dataset has them.
        image_size: Height and width to which images are brought on the host: by a random resized
            crop for training, by resizing and the centre crop for evaluation. None: as they are.
        crop_fraction: What the centre crop takes of the shorter side.
        crop_area: Least and greatest share of the image that a random resized crop takes.
        crop_ratio: Least and greatest width over height of a random resized crop.
        interpolation: The filter of every resizing; evaluation uses it with antialiasing.
        mean: Mean of the pixels in units of 0..1, one number for all channels or one a channel.
        std: Standard deviation of the pixels, in the same units.
        in_memory: Decode every image once and keep them; None: where the dataset is small.
        device_resident: Keep the training split on the device and train many steps in one dispatch,
            with the same examples and random numbers; None: on a GPU or TPU, where the split is in
            memory and nothing is done to its images on the host.
        workers: Spawned processes that read and decode; 0: threads of this process.
        on_error: `stop` at an example that cannot be used, or `skip` it: count it and list it in
            `bad_examples.jsonl`.
        max_bad_examples: The most examples that may be skipped.
        max_pixels: Larger images count as bad: a small file can unfold into more memory than
            there is.
    """

    name: str = "digits"
    data_dir: str | None = None
    cache_dir: str | None = None
    cache_gigabytes: PositiveFloat = 10.0
    repeats: PositiveInt = 1
    straddle_epochs: bool = False
    sampling: Literal["uniform", "balanced"] = "uniform"
    train_split: SplitName = "train"
    validation_split: SplitName | None = "validation"
    test_split: SplitName = "test"
    channels: Literal[1, 3] | None = None
    image_size: PositiveInt | None = None
    crop_fraction: PositiveShare = 0.875
    crop_area: Annotated[tuple[PositiveShare, PositiveShare], _ASCENDING] = (0.08, 1.0)
    crop_ratio: Annotated[tuple[PositiveFloat, PositiveFloat], _ASCENDING] = (0.75, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    in_memory: bool | None = None
    device_resident: bool | None = None
    workers: NonNegativeInt = 0
    on_error: Literal["stop", "skip"] = "stop"
    max_bad_examples: NonNegativeInt = 100
    max_pixels: PositiveInt = MAX_PIXELS

    def __post_init__(self) -> None:
        check_source_name(self.name)
        if self.data_dir is not None:
            user_path(self.data_dir)
        if self.cache_dir is not None:
            local_path(self.cache_dir)
        check_statistics(self.mean, self.std, prefix="data.")

    def inputs(self, *, channels: int, size: int | None = None) -> NetworkInputs:
        """Gives the record of what evaluation, and a network trained on these data, expects.

        Args:
            channels: Channels of the images.
            size: Height and width of the dataset's images, if they are known; `image_size`
                overrides it.
        """
        return NetworkInputs(
            size=self.image_size or size,
            crop_fraction=self.crop_fraction if self.image_size else 1.0,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            channels=check_channels(channels),
        )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the training images, one draw an image.

    Zero switches a change off. They are applied in the order of the fields, on the accelerator,
    down to `flip` to pixel values before normalisation; what comes from outside of the image is
    black. A policy is done on the host, and `pad_crop` and `flip` then before it.

    Attributes:
        policy: Pillow's operations, as the papers combine them: `randaugment`,
            `randaugment_increasing` (timm's form, that of ResNet strikes back), `trivialaugment`,
            `autoaugment_imagenet` or `autoaugment_cifar`. None for none.
        policy_operations: Operations an image, for both forms of RandAugment.
        policy_magnitude: Their strength: 0 to 30 for `randaugment`, 0 to 10 for
            `randaugment_increasing`; None for 9 and 7.
        policy_spread: Standard deviation of the strength, for `randaugment_increasing`.
        shift: Largest shift along each axis in pixels, fractions included.
        rotate: Largest rotation in degrees, both ways.
        scale: Largest change of size as a fraction: factors from 1 - scale to 1 + scale.
        pad_crop: Pixels of padding on each side, from which a window of the old size is cut.
        flip: Probability of mirroring left and right.
        erase: Probability of erasing a rectangle, after normalisation as all that follows.
        erase_mode: What fills it: the `mean` of the pixels or `noise`.
        mixup: Parameter of the Beta distribution of mixup.
        cutmix: Parameter of the Beta distribution of CutMix.
        mix_probability: Probability of mixing at all.
        mix_switch: Where mixup and CutMix are both on: the probability of CutMix.
        mix_mode: Whether the share is drawn once a `batch`, or once a `pair` of images.
        mix_group_size: Mixes each N consecutive images as if they were a batch, as the processes of
            a PyTorch run do; None mixes all of them.
    """

    policy: PolicyName | None = None
    policy_operations: PositiveInt = 2
    policy_magnitude: Annotated[float, Field(ge=0, le=30)] | None = None
    policy_spread: NonNegativeFloat = 0.5
    shift: NonNegativeFloat = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Annotated[float, Field(ge=0, le=0.99)] = 0.0
    pad_crop: NonNegativeInt = 0
    flip: Share = 0.0
    erase: Share = 0.0
    erase_mode: Literal["mean", "noise"] = "mean"
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    mix_probability: Share = 1.0
    mix_switch: Share = 0.5
    mix_mode: Literal["batch", "pair"] = "batch"
    mix_group_size: PositiveInt | None = None

    def __post_init__(self) -> None:
        if self.policy == "randaugment_increasing" and (self.policy_magnitude or 0) > 10:
            raise ConfigError(
                f"augment.policy_magnitude={self.policy_magnitude} is out of range; "
                "randaugment_increasing goes from 0 to 10"
            )

"""What a set of weights expects of its images."""

import dataclasses
from typing import Literal

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """How images become inputs: resized to `size / crop_fraction`, cropped, normalised.

    Attributes:
        size: Rows and columns of the input.
        crop_fraction: What the centre crop takes of the shorter side of the resized image.
        interpolation: The filter of the resizing.
        mean: Mean of the colours red, green and blue, which run from 0 to 1.
        std: Their standard deviation.
        test_size: Larger size at which the weights do better still, if one is known.
        test_crop_fraction: Crop fraction at `test_size`; None takes `crop_fraction`.
    """

    size: int
    crop_fraction: float
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)
    test_size: int | None = None
    test_crop_fraction: float | None = None

"""What published weights expect of images, and the size at which they do better still."""

import dataclasses
from typing import Literal

from resnet_jax.network_inputs import NetworkInputs


@dataclasses.dataclass(frozen=True)
class Preprocessing(NetworkInputs):
    """The inputs of published weights, and the larger size at which these do better still.

    Attributes:
        size: As for `NetworkInputs`, and never None.
        crop_fraction: As for `NetworkInputs`.
        interpolation: As for `NetworkInputs`; bicubic unless the weights say otherwise.
        test_size: Larger size with a higher accuracy, if one is known.
        test_crop_fraction: Crop fraction at `test_size`; None takes `crop_fraction`.
    """

    size: int
    crop_fraction: float
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    test_size: int | None = None
    test_crop_fraction: float | None = None

"""Everything that happens to an image, from the file to the network, as one list to read.

The lines come from the steps that are executed: `ImageSteps` on the host, then the changes of a
batch that the training step applies on the device.
"""

from __future__ import annotations

from resnet_jax.data.config import AugmentConfig, DataConfig
from resnet_jax.data.images.transforms import eval_steps, train_steps
from resnet_jax.data.on_device.augment import augment_changes, describe_normalize
from resnet_jax.data.on_device.mixing import describe_mix


def describe_changes(
    data: DataConfig, augment: AugmentConfig, *, channels: int
) -> dict[str, list[str]]:
    """Lists what happens to an image.

    Args:
        data: A recipe's data.
        augment: Its random changes.
        channels: Channels of the network's input, which are those of the images.

    Returns:
        Lines in order, under the place where they happen: `training, on the host`, `training, on
        the device`, and the same for `evaluation`.
    """
    inputs = data.inputs(channels=channels)
    normalize = describe_normalize(inputs.mean, inputs.std)
    return {
        "training, on the host": train_steps(data, augment, channels=channels).describe(),
        "training, on the device": [
            *(change.line for change in augment_changes(augment)),
            normalize,
            *describe_mix(augment),
        ],
        "evaluation, on the host": eval_steps(inputs, max_pixels=data.max_pixels).describe(),
        "evaluation, on the device": [normalize],
    }

"""The trunk of a network without its head."""

import operator
from collections.abc import Iterable

import jax
from flax import nnx

from resnet_jax.errors import ConfigError
from resnet_jax.models.trunk import Trunk


class Backbone(Trunk):
    """The trunk of a network without its head: images to maps, for detectors and the like.

    Attributes:
        stem: From images to the first stage.
        stages: Lists of blocks, up to the last map that is wanted.
        out_indices: Which maps the call returns: 0 after the stem, 1 after the first stage.
        feature_info: Channels and stride of each map that the call returns.
    """

    def __init__(self, network: Trunk, *, out_indices: Iterable[int] | None = None) -> None:
        """Takes the stem and the stages of a network; their parameters are shared.

        Args:
            network: Such as a `ResNet`.
            out_indices: Which maps the call returns; -1 is the last; None returns all.

        Raises:
            ConfigError: There is no map of an index, none is wanted, or `out_indices` is not a
                sequence of whole numbers.
        """
        info = network.feature_info
        indices = range(len(info)) if out_indices is None else out_indices
        self.out_indices = _resolve(indices, len(info))
        self.config = network.config
        self.stem = network.stem
        self.stages = nnx.List(list(network.stages)[: self.out_indices[-1]])
        self.feature_info = tuple(info[index] for index in self.out_indices)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps of `out_indices`, in the order of depth. See `features`."""
        maps = self.features(x, rngs=rngs)
        return [maps[index] for index in self.out_indices]


def _resolve(indices: Iterable[int], count: int) -> tuple[int, ...]:
    """Returns the numbers of the wanted maps out of `count`, in the order of depth."""
    wanted = _numbers(indices)
    for index in wanted:
        if not -count <= index < count:
            raise ConfigError(
                f"out_indices={wanted}: there is no map {index}; the network has {count}, from 0 "
                f"after the stem to {count - 1} after the last stage."
            )
    if not wanted:
        raise ConfigError("out_indices=() asks for no map; name at least one.")
    return tuple(sorted({index % count for index in wanted}))


def _numbers(indices: Iterable[int]) -> tuple[int, ...]:
    """Returns several whole numbers, such as those of a tuple or of an array, as Python's."""
    try:
        # A single number may mean this map or, as in timm, the last so many. Booleans are a mask.
        numbers = tuple(indices)
        if not any(isinstance(number, bool) for number in numbers):
            return tuple(operator.index(number) for number in numbers)
    except TypeError:
        pass
    given = " ".join(repr(indices).split())  # that of an array may have several lines
    raise ConfigError(
        f"out_indices={given} is not a sequence of whole numbers; (1, -1), for instance, asks for "
        f"the maps after the first and after the last stage."
    )

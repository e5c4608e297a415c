"""The trunk of a network without its head."""

from collections.abc import Iterable

import jax
from flax import nnx

from resnet_jax.errors import ConfigError, shown
from resnet_jax.models.indices import resolve_indices
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
            ConfigError: There is no map of an index, none is wanted, `out_indices` is not a
                sequence of whole numbers, or `network` not a network.
        """
        if not isinstance(network, Trunk):
            raise ConfigError(
                f"Backbone takes a network, not {shown(repr(network))}: create_model takes a "
                f"name, with features_only=True."
            )
        info = network.feature_info
        indices = range(len(info)) if out_indices is None else out_indices
        self.out_indices = resolve_indices("out_indices", indices, len(info))
        self.config = network.config
        self.stem = network.stem
        self.stages = nnx.List(list(network.stages)[: self.out_indices[-1]])
        self.feature_info = tuple(info[index] for index in self.out_indices)

    def __call__(self, x: jax.Array, *, rngs: nnx.Rngs | None = None) -> list[jax.Array]:
        """Returns the maps of `out_indices`, in the order of depth. See `features`."""
        maps = self.features(x, rngs=rngs)
        return [maps[index] for index in self.out_indices]

"""The settings of the BatchNorms in a network, as data."""

import dataclasses

from resnet_jax.errors import ConfigError, shown
from resnet_jax.models.checks import check_positive, make_plain


@dataclasses.dataclass(frozen=True)
class BatchNormConfig:
    """Settings of every BatchNorm in a network; see `resnet_jax.layers.BatchNorm`."""

    momentum: float = 0.9
    epsilon: float = 1e-5
    group_size: int | None = None
    unbiased_variance: bool = False
    two_pass: bool = False
    fold: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes them plain.

        Raises:
            ConfigError: One is of another kind, or out of range.
        """
        make_plain("batch_norm.", self)
        for field in ("momentum", "epsilon"):
            if not 0.0 <= getattr(self, field) <= 1.0:
                raise ConfigError(
                    f"batch_norm.{field}={shown(getattr(self, field))} must lie in [0, 1]."
                )
        if self.group_size is not None:
            check_positive("batch_norm.group_size", self.group_size)

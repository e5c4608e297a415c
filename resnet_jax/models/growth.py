"""Deeper networks that begin as a shallower one."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from resnet_jax.errors import ConfigError
from resnet_jax.models.config import ResNetConfig
from resnet_jax.models.initialize import initialize
from resnet_jax.models.resnet import ResNet
from resnet_jax.models.tables import NORMS


def grow(
    model: ResNet, depths: tuple[int, ...], *, dtype: DTypeLike | None = None, rngs: nnx.Rngs
) -> ResNet:
    """Builds a deeper network that computes what a shallower one does.

    Each stage begins with the shallower network's blocks and goes on with new ones, whose residual
    branches end in zeros: such a block passes its input on, which after a ReLU is not negative. So
    the logits are the same, bit for bit, and the new blocks can still learn, for the gradient with
    respect to a scale of zero is not zero. (In training mode two compiled programs may add up the
    batch's statistics in different orders, and then agree to rounding.)

    Args:
        model: The shallower network; it is left alone and shares no array with the new one.
        depths: Blocks of each stage of the deeper network.
        dtype: Dtype of the computation, as `model` was built with.
        rngs: The key `params` initialises the new blocks.

    Returns:
        The deeper network, in training mode. Its config is the old one with the new depths and
        `zero_init_last`.

    Raises:
        ConfigError: The depths are not deeper, or a new block could not be the identity: its
            network is plain, has projections everywhere or no ReLU after the sum.

    References:
        He et al. 2015, section 1 (the solution by construction), https://arxiv.org/abs/1512.03385.
        Goyal et al. 2017, section 5.1 (scales of zero), https://arxiv.org/abs/1706.02677.
    """
    config = dataclasses.replace(model.config, depths=depths, zero_init_last=True)
    _check(model.config, config.depths)
    param_dtype = model.param_dtype

    def build(rngs: nnx.Rngs) -> ResNet:
        return ResNet(config, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    grown = initialize(build, rngs.params())
    for old_blocks, new_blocks in zip(model.stages, grown.stages, strict=True):
        for old, new in zip(old_blocks, new_blocks, strict=False):
            _copy(old, new)
    for name in ("stem", "norm", "head"):
        _copy(getattr(model, name), getattr(grown, name))
    return grown


def _copy(source: object, target: object) -> None:
    """Gives a module the arrays of another one of the same structure."""
    if isinstance(source, nnx.Module):  # the identity that replaces a norm is none
        nnx.update(target, jax.tree.map(jnp.copy, nnx.state(source)))


def _check(config: ResNetConfig, depths: tuple[int, ...]) -> None:
    if any(deep < shallow for shallow, deep in zip(config.depths, depths, strict=True)):
        raise ConfigError(
            f"depths={depths} do not grow from {config.depths}; give each stage at least as "
            f"many blocks."
        )
    remedy = "; only a residual block with an identity shortcut can pass its input on unchanged."
    if "plain" in config.blocks:
        raise ConfigError(f"block={config.block!r} cannot grow{remedy}")
    if config.shortcut == "c":
        raise ConfigError(f"shortcut='c' cannot grow{remedy}")
    rectified = config.activation == "relu" or NORMS[config.norm].activates
    if not (config.preactivation or rectified):
        raise ConfigError(
            f"activation={config.activation!r} cannot grow: it would be applied anew."
        )

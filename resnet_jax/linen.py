"""The public name of `resnet_jax.interop.linen`."""

from resnet_jax.interop.linen import LinenModule, to_linen

__all__ = ["LinenModule", "to_linen"]

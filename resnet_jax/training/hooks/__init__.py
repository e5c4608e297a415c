"""Hooks: what programs do at the start, the records, the checkpoints and the end of a run."""

from resnet_jax.training.hooks.hook import Hook, Hooks, RunStart
from resnet_jax.training.hooks.reports import Reports, reporting
from resnet_jax.training.hooks.trackers import MlflowHook, WandbHook, open_trackers

__all__ = [
    "Hook",
    "Hooks",
    "MlflowHook",
    "Reports",
    "RunStart",
    "WandbHook",
    "open_trackers",
    "reporting",
]

"""Sets up Orbax: which checkpoints it keeps, how it writes arrays, and what it prints."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging
from orbax.checkpoint import v1 as ocp

from resnet_jax.training.recipe.config import CheckpointConfig

BEST_BY = ("validation_accuracy", "validation_mean_average_precision")
"""What decides which checkpoint is the best: for one class an image, and for several."""

# Bytes. Each device that holds a copy of an array may save a slice of it. By default, Orbax slices
# even the scale of a norm; hundreds of such small writes stop training longer than the large ones
# do. If the slices of an array would be smaller than this, one device saves all of it.
_MIN_SLICE = 2**20


def open_checkpointer(
    directory: pathlib.Path, config: CheckpointConfig, *, shared: bool = True
) -> ocp.training.Checkpointer:
    """Opens the checkpoints of a folder, and silences everything that Orbax prints but errors.

    Args:
        directory: The absolute path of the folder; created if it is missing.
        config: Which checkpoints to keep.
        shared: Whether all processes see the same folder. If not, each finds what it wrote in its
            own, and together these are the checkpoint.
    """
    # Orbax logs every step, and the traceback of every error that it also raises.
    logging.set_verbosity(logging.FATAL)
    _ignore_writes_after_a_failed_save()
    policies = ocp.training.preservation_policies
    keep: list[Any] = [policies.LatestN(config.keep_latest)]
    if config.keep_best:
        best = policies.BestN(
            get_metric_fn=lambda metrics: next(iter(deciding(metrics).values())),
            n=config.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        keep.append(best)
    context = ocp.Context()
    context.array.saving.min_slice_bytes_for_replica_parallel = _MIN_SLICE
    if not shared:
        # One file for each array and slice; otherwise the first process would merge the files of
        # all, and the others would wait for folders that it creates.
        context.array.saving.use_ocdbt = False
        context.array.saving.array_metadata_store = None
    return ocp.training.Checkpointer(
        directory, preservation_policy=policies.AnyPreservationPolicy(keep), context=context
    )


def deciding(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metric that decides which checkpoint is the best, if it was measured."""
    found = {name: metrics[name] for name in BEST_BY if isinstance(metrics.get(name), int | float)}
    return dict(list(found.items())[:1])


def _ignore_writes_after_a_failed_save() -> None:
    """Hides tracebacks that add nothing to the error of a failed save.

    The first write that fails ends the save and its event loop. The other writes still report to
    that loop, from threads of TensorStore, where nothing can catch the error.
    """
    if isinstance(sys.unraisablehook, _QuietHook):
        return
    sys.unraisablehook = _QuietHook(sys.unraisablehook)


@dataclasses.dataclass(frozen=True)
class _QuietHook:
    otherwise: Callable[[Any], object]

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self.otherwise(unraisable)

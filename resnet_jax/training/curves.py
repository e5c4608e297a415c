"""The picture of a run's losses and accuracies."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from resnet_jax.training.logs import Record


def draw_curves(records: Sequence[Record], path: pathlib.Path) -> None:
    """Draws loss and accuracy over the epochs.

    Args:
        records: From `read_records`.
        path: The PNG file to write.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for axes, quantity in ((losses, "loss"), (accuracies, "accuracy")):
        for split in ("train", "validation", "test"):
            _draw(axes, records, split, quantity)
        axes.set(xlabel="epoch", ylabel=quantity)
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw(axes: Axes, records: Sequence[Record], split: str, quantity: str) -> None:
    name = f"{split}_{quantity}"
    points = [(record["epoch"], record[name]) for record in records if record.get(name) is not None]
    if points:
        marker = "o" if len(points) == 1 else None
        axes.plot(*zip(*points, strict=True), marker=marker, label=f"{split} {points[-1][1]:.4g}")

"""The style of the study's figures: SVG without a background, for light and dark pages."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# A grey with a contrast of more than 4 to 1 to both white and black.
_INK = "#7a7a7a"
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": _INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlesize": 11,
    "figure.facecolor": "none",
    "font.size": 10,
    "grid.alpha": 0.25,
    "grid.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "resnet_jax",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}

# Plain networks are orange, residual ones blue; deeper networks have stronger lines.
_COLOURS = {"plain": "#d8762b", "resnet": "#3b82d6"}
_WIDTHS = (1.2, 2.4, 3.6)
_DASHES = ((0, (4, 1.5)), "solid", (0, (1, 1)))


@contextlib.contextmanager
def figure(path: pathlib.Path, *, panels: int) -> Iterator[list[Axes]]:
    """Yields axes side by side, and writes them to a file at the end.

    Args:
        path: An SVG file.
        panels: Number of axes.
    """
    with mpl.rc_context(_STYLE):
        drawing = Figure(figsize=(4.6 * panels, 3.8), layout="constrained")
        yield list(drawing.subplots(1, panels, squeeze=False)[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasSVG(drawing).print_svg(str(path), metadata={"Date": None})


def family(network: str) -> str:
    """Returns `plain` or `resnet`."""
    return network.rstrip("0123456789")


def colour(network: str) -> str:
    """Returns the colour of a network's family."""
    return _COLOURS[family(network)]


def line_style(network: str, depths: tuple[int, ...]) -> dict[str, Any]:
    """Returns how a network is drawn: the colour of its family, the stroke of its depth."""
    rank = depths.index(int(network.removeprefix(family(network))))
    return {
        "color": colour(network),
        "linewidth": _WIDTHS[rank],
        "linestyle": _DASHES[rank],
        "label": title(network),
    }


def title(network: str) -> str:
    """Returns the displayed name of a network: `plain 56`, `residual 56`."""
    kind = family(network)
    return f"{'residual' if kind == 'resnet' else kind} {network.removeprefix(kind)}"

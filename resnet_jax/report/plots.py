"""Curves of runs as SVG in the colours of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, PercentFormatter

from resnet_jax.report.runs import Run

SERIES = 8
"""Colours of the page, `--series-0` to `--series-7`; further runs reuse them."""

# Placeholder colours, which are replaced by the page's when the SVG is written.
_INK = "#010203"
_SERIES_INK = tuple(f"#01030{index}" for index in range(SERIES))
_LOG_RANGE = 50  # a loss that falls by a larger factor is drawn on a logarithmic scale
_SINGLE = {"-": "_", "--": "x", "": "o"}  # markers of single values, which make no line
_STYLE: Any = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "grid.color": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "resnet_jax",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


class Chart(NamedTuple):
    """A plot of one quantity.

    Attributes:
        title: The quantity.
        svg: An SVG element for a page.
    """

    title: str
    svg: str


class _Quantity(NamedTuple):
    title: str
    solid: str
    dashed: str = ""
    dot: str = ""
    unit: str = ""


_QUANTITIES = (
    _Quantity("Loss", "train_loss", "validation_loss", "test_loss"),
    _Quantity("Accuracy", "train_accuracy", "validation_accuracy", "test_accuracy", "share"),
    _Quantity(
        "Mean average precision",
        "",
        "validation_mean_average_precision",
        "test_mean_average_precision",
        "share",
    ),
    _Quantity("Learning rate", "learning_rate"),
    _Quantity("Throughput (images per second)", "images_per_second", unit="rate"),
)


def draw_charts(runs: Sequence[Run]) -> list[Chart]:
    """Plots loss, accuracy, learning rate and throughput of runs over the epochs.

    Args:
        runs: In the order of their colours, `--series-0` and so on.

    Returns:
        A chart for each quantity with recorded values.
    """
    drawn = []
    for number, quantity in enumerate(_QUANTITIES):
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(5.0, 3.0), layout="constrained", facecolor="none")
            axes = figure.add_subplot(facecolor="none")
            for run, ink in zip(runs, _inks(len(runs)), strict=True):
                _draw(axes, run, quantity, ink)
            if axes.has_data():
                _finish(axes, quantity)
                drawn.append(Chart(quantity.title, _to_svg(figure, quantity.title, number)))
    return drawn


def series(index: int) -> int:
    """Returns the colour number of the run at `index`."""
    return index % SERIES


def _inks(count: int) -> list[str]:
    return [_SERIES_INK[series(index)] for index in range(count)]


def _draw(axes: Axes, run: Run, quantity: _Quantity, ink: str) -> None:
    kinds = ((quantity.solid, "-", 0.9), (quantity.dashed, "--", 1.0), (quantity.dot, "", 1.0))
    for name, line, opacity in kinds:
        points = run.points(name) if name else []
        if points:
            is_single = len(points) == 1
            axes.plot(
                *zip(*points, strict=True),
                color=ink,
                linestyle=line,
                linewidth=1.6,
                alpha=opacity,
                marker=_SINGLE[line] if is_single else None,
                markersize=7,
                markeredgewidth=1.6,
                clip_on=not is_single,
            )


def _finish(axes: Axes, quantity: _Quantity) -> None:
    axes.set_xlabel("epoch")
    axes.set_xlim(left=0)
    axes.grid(alpha=0.15)
    low, high = axes.dataLim.intervaly
    if quantity.unit == "share":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    elif quantity.unit == "rate":
        axes.set_ylim(bottom=0)
    elif quantity.title == "Loss" and low > 0 and high / low > _LOG_RANGE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))


def _to_svg(figure: Figure, title: str, number: int) -> str:
    """Writes a figure as an SVG element with the page's colours and IDs unique to the chart."""
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Its style element would apply to the whole page.
    text = re.sub(r"<(metadata|style)\b.*?</\1>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", r"<svg \1>", text, count=1)
    text = re.sub(r'\bid="', f'id="chart{number}-', text)
    text = re.sub(r"url\(#", f"url(#chart{number}-", text)
    text = re.sub(r'xlink:href="#', f'href="#chart{number}-', text)
    for index, ink in enumerate(_SERIES_INK):
        text = text.replace(ink, f"var(--series-{index})")
    text = text.replace(_INK, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1).strip()

"""What a widget shows, drawn once on white paper: for GitHub, print, and where no kernel runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

WIDTH, DPI = 9.2, 144  # inches; dots per inch, sharp on screens with small pixels
Style = Literal["solid", "dashed", "dotted", "dashdot"]


class Panel(NamedTuple):
    """A picture: its title, its pixels uint8 (H, W, 3), and a frame to draw on it.

    frame: Row, column, height and width in pixels, or None.
    """

    title: str
    pixels: np.ndarray
    frame: tuple[int, int, int, int] | None = None


class Curve(NamedTuple):
    """A named curve through points (x, y), both 0-1; two points with one x are an upright line."""

    name: str
    points: Sequence[tuple[float, float]]
    style: Style
    color: str | None = None


class Chart(NamedTuple):
    """Curves in a square from 0 to 1: titles, and per axis (place, label) of the ticks."""

    title: str
    xlabel: str
    xticks: Sequence[tuple[float, str]]
    yticks: Sequence[tuple[float, str]]
    curves: Sequence[Curve]


class Table(NamedTuple):
    """A title, column heads and rows of text; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """In columns of fixed width.

        >>> print(Table("scores", ("class", "Dice"), [("RV", "0.5"), ("LV", "0.75")]).text())
        scores
        class  Dice
        RV      0.5
        LV     0.75
        """
        rows = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in rows
        ]
        return "\n".join([self.title, *lines] if self.title else lines)


def draw(
    panels: Sequence[Panel],
    legend: Mapping[str, str],
    chart: Chart | None = None,
    text: str = "",
    columns: int = 5,
) -> Figure:
    """Panels in rows, a chart beside them, legend and text below; a saved picture holds all of it.

    Args:
        panels: The pictures. legend: Color per name. chart: Beside them. text: Below, in columns.
        columns: Panels in a row, at most.
    """
    columns = min(columns, len(panels))
    share = 0.4 if chart else 1.0  # of the width, for the panels
    rows = -(-len(panels) // columns)
    size = share * WIDTH / columns  # inches, of a panel
    figure = Figure(figsize=(WIDTH, rows * (size + 0.05) + 0.35))
    grid = figure.subplots(rows, columns, squeeze=False)
    low, high = 0.25 / figure.get_figheight(), 1 - 0.2 / figure.get_figheight()
    figure.subplots_adjust(0.005, low, share - 0.005, high, wspace=0.03, hspace=0.14)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        axes.imshow(panel.pixels, interpolation="nearest")
        axes.set_title(panel.title, fontsize=9 if columns < 6 else 7.5)
        if panel.frame:
            row, column, height, width = (n - 0.5 * (i < 2) for i, n in enumerate(panel.frame))
            for color, line in (("black", 3), ("white", 1.5)):
                corner = (column, row)
                axes.add_patch(
                    Rectangle(corner, width, height, fill=False, edgecolor=color, linewidth=line)
                )
    if chart:
        _draw_chart(figure, chart, share, low, high)
    if legend:
        handles = [
            Patch(facecolor=color, edgecolor="black", linewidth=0.5, label=name)
            for name, color in legend.items()
        ]
        place = {"loc": "upper left", "bbox_to_anchor": (0, low), "ncols": len(handles)}
        look = {"frameon": False, "fontsize": 9, "handlelength": 1, "columnspacing": 1.2}
        figure.legend(handles=handles, borderaxespad=0.2, **place, **look)
    figure.text(0.005, -0.01, text, family="monospace", fontsize=8.5, va="top")
    return figure


def _draw_chart(figure: Figure, chart: Chart, left: float, low: float, high: float) -> None:
    axes = figure.add_axes((left + 0.05, low + 0.1, 0.92 - left - 0.17, high - low - 0.1))
    for curve in chart.curves:
        x, y = zip(*curve.points, strict=True) if len(curve.points) else ((), ())
        axes.plot(x, y, linestyle=curve.style, color=curve.color or "black", label=curve.name)
    axes.set(xlim=(-0.01, 1), ylim=(0, 1.03))
    axes.set_xticks(*map(list, zip(*chart.xticks, strict=True)), fontsize=8)
    axes.set_yticks(*map(list, zip(*chart.yticks, strict=True)), fontsize=8)
    axes.set_title(chart.title, fontsize=9)
    axes.set_xlabel(chart.xlabel, fontsize=9, labelpad=1)
    axes.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False)


def png(figure: Figure) -> bytes:
    """The figure with all that stands around it, on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    return buffer.getvalue()


def beside_widget(bundle: tuple[dict, dict] | None, figure: Figure | None, text: str) -> tuple:
    """A widget's output with a picture and words for readers without a kernel.

    Args:
        bundle: What the widget gives out: data and metadata per MIME type, or None.
        figure: The picture, or None. text: What to say where not even a picture can be shown.
    """
    data, metadata = bundle or ({}, {})
    data["text/plain"] = text
    if figure is not None:
        picture = png(figure)
        data["image/png"] = base64.b64encode(picture).decode()
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        size = {"width": width * 96 // DPI, "height": height * 96 // DPI}
        metadata["image/png"] = {**size, "alt": text}
    return data, metadata

"""Pictures as PNG files, by matplotlib."""

from __future__ import annotations

import functools
import io
import math
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ...files.write import write_whole
from .picture import (
    Axis,
    Band,
    Bars,
    Cells,
    Intervals,
    Label,
    Line,
    Picture,
    Points,
    Sheet,
)
from .style import CELLS, STYLE

# Inches: of a picture alone, of one on a sheet, and of a line of the legend.
ALONE, EACH, LEGEND_LINE = (8.0, 4.8), (3.7, 3.1), 0.2
# A px of a picture's description in points.
POINTS = 0.75
SIDES: dict[str, tuple[int, int, str, str]] = {
    "right": (1, 0, "left", "center"),
    "left": (-1, 0, "right", "center"),
    "above": (0, 1, "center", "bottom"),
    "below": (0, -1, "center", "top"),
    "below left": (0, -1, "right", "top"),
}
DASHES: dict[str, Any] = {
    "solid": "-",
    "dash": (0, (5, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 1.5, 1, 1.5)),
    "longdash": (0, (9, 2)),
    "longdashdot": (0, (9, 1.5, 1, 1.5)),
}


def save_png(drawn: Picture | Sheet, path: Path) -> None:
    """Draw a picture, or several on a sheet, into a file."""
    write_whole(path, png_of(drawn))


def png_of(drawn: Picture | Sheet) -> bytes:
    """A picture, or several on a sheet, as a PNG file has it."""
    png = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure_of(drawn).savefig(png, format="png")
    return png.getvalue()


def figure_of(drawn: Picture | Sheet) -> Figure:
    """A picture, or several on a sheet, as a figure of matplotlib."""
    sheet = drawn if isinstance(drawn, Sheet) else Sheet(pictures=[drawn], columns=1)
    n_rows = math.ceil(len(sheet.pictures) / sheet.columns)
    width, height = ALONE
    if len(sheet.pictures) > 1:
        width, height = max(EACH[0] * sheet.columns, ALONE[0]), EACH[1] * n_rows
        if sheet.columns == 2:
            width, height = 10.0, 4.4 * n_rows
    figure = Figure(figsize=(width, height), layout="constrained")
    places = figure.subplots(n_rows, sheet.columns, squeeze=False).flat
    for axes, picture in zip(places, sheet.pictures, strict=False):
        _draw(axes, picture)
    for axes in list(places)[len(sheet.pictures) :]:
        axes.remove()
    if sheet.title:
        figure.suptitle(_plain(sheet.title), x=0.01, ha="left", weight="bold")
    _add_legend(figure)
    return figure


def _add_legend(figure: Figure) -> None:
    """Every name once, below all, in as many columns as have room; the figure grows by it."""
    named = {}
    for axes in figure.axes:
        handles, names = axes.get_legend_handles_labels()
        named |= {name: one for name, one in zip(names, handles, strict=True) if name not in named}
    if not named:
        return
    width, height = figure.get_size_inches()
    columns = max(1, int(width / (0.08 * max(map(len, named)) + 0.55)))
    columns = math.ceil(len(named) / math.ceil(len(named) / columns))
    figure.set_size_inches(width, height + LEGEND_LINE * math.ceil(len(named) / columns))
    figure.legend(
        named.values(), named.keys(), loc="outside lower left", ncols=columns, frameon=False,
        fontsize=9, handlelength=3,
    )  # fmt: skip


def _draw(axes: Axes, picture: Picture) -> None:
    axes.set_title(_plain(picture.title), wrap=True)
    for name, axis in (("x", picture.x), ("y", picture.y)):
        _set_axis(axes, name, axis)
    for order, layer in enumerate(picture.layers):
        _add(layer, axes, 2 + 0.01 * order)
    # Layers may have moved them.
    for name, axis in (("x", picture.x), ("y", picture.y)):
        axes.set(**{f"{name}lim": axis.span})


def _set_axis(axes: Axes, name: str, axis: Axis) -> None:
    scale = "log" if axis.log else "linear"
    axes.set(**{f"{name}label": _plain(axis.title), f"{name}scale": scale})  # type: ignore[arg-type]
    lines = axes.xaxis if name == "x" else axes.yaxis
    if axis.ticks is not None:
        texts = {value: _plain(text) for value, text in axis.ticks}
        lines.set_major_locator(FixedLocator(list(texts)))
        lines.set_major_formatter(FuncFormatter(lambda value, _: texts.get(value, "")))
        lines.set_minor_locator(NullLocator())
    if axis.bare:
        axes.spines["bottom" if name == "x" else "left"].set_visible(False)
        lines.set_tick_params(length=0)


@functools.singledispatch
def _add(layer: Any, axes: Axes, zorder: float) -> None:
    raise TypeError(f"no way to draw a {type(layer).__name__}")


@_add.register
def _(layer: Cells, axes: Axes, zorder: float) -> None:
    low, high = layer.bar.span
    cells = axes.pcolormesh(
        layer.x_edges, layer.y_edges, layer.values, vmin=low, vmax=high,
        cmap=LinearSegmentedColormap.from_list("cells", CELLS), zorder=zorder,
    )  # fmt: skip
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(cells, ax=axes, label=layer.bar.title, aspect=35, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    if layer.bar.ticks is not None:
        bar.set_ticks([value for value, _ in layer.bar.ticks])
        bar.set_ticklabels([text for _, text in layer.bar.ticks])


@_add.register
def _(layer: Line, axes: Axes, zorder: float) -> None:
    hollow = np.array(layer.hollow or [False] * len(layer.x), bool)
    only_a_key = not len(layer.x)
    look: dict[str, Any] = {
        "color": layer.colour,
        "marker": "s" if layer.square else "o",
        "markersize": layer.dot * POINTS,
        "zorder": zorder,
    }
    axes.plot(
        layer.x,
        layer.y,
        label=_plain(layer.name),
        drawstyle="steps-post" if layer.steps else "default",
        linestyle=DASHES[layer.dash] if layer.width else "none",
        linewidth=layer.width * POINTS,
        markerfacecolor="white" if only_a_key and hollow.any() else layer.colour,
        alpha=layer.opacity,
        **look,
    )
    if hollow.any() and not only_a_key:
        x, y = np.asarray(layer.x)[hollow], np.asarray(layer.y)[hollow]
        axes.plot(x, y, linestyle="none", markerfacecolor="white", **look)


@_add.register
def _(layer: Points, axes: Axes, zorder: float) -> None:
    star = layer.symbol == "star"
    axes.scatter(
        layer.x, layer.y, s=(layer.size * POINTS * (1.15 if star else 1)) ** 2,
        c=layer.colours if isinstance(layer.colours, str) else list(layer.colours),
        marker="*" if star else "o", edgecolors=layer.edge or "none",
        linewidths=1 if star else 0.6, clip_on=not star, zorder=zorder,
    )  # fmt: skip


@_add.register
def _(layer: Band, axes: Axes, zorder: float) -> None:
    axes.fill_between(
        layer.x, layer.low, layer.high, color=layer.colour, alpha=layer.opacity, linewidth=0,
        label=_plain(layer.name), zorder=zorder,
    )  # fmt: skip


@_add.register
def _(layer: Intervals, axes: Axes, zorder: float) -> None:
    axes.vlines(
        layer.x, layer.low, layer.high, color=layer.colour, alpha=layer.opacity,
        linewidth=layer.width * POINTS, label=_plain(layer.name), zorder=zorder,
    )  # fmt: skip


@_add.register
def _(layer: Bars, axes: Axes, zorder: float) -> None:
    axes.barh(layer.y, layer.lengths, height=0.65, color=layer.colour, zorder=zorder)


@_add.register
def _(layer: Label, axes: Axes, zorder: float) -> None:
    right, up, horizontal, vertical = SIDES[layer.side]
    gap = layer.gap * POINTS
    box = {"boxstyle": "square,pad=0.15", "color": "white", "alpha": 0.85, "linewidth": 0}
    axes.annotate(
        _plain(layer.text), (layer.x, layer.y), (right * gap, up * gap),
        textcoords="offset points", ha=horizontal, va=vertical, color=layer.colour,
        fontsize=layer.size * POINTS, weight="bold" if layer.bold else "normal",
        bbox=box if layer.boxed else None, zorder=zorder,
    )  # fmt: skip


def _plain(text: str) -> str:
    """A text without meaning to matplotlib's mathematics."""
    return text.replace("$", r"\$")

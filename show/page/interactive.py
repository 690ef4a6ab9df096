"""Pictures as figures of plotly, for a page."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from ..pictures.picture import (
    Axis,
    Band,
    Bars,
    Cells,
    Hover,
    Intervals,
    Label,
    Line,
    Picture,
    Points,
)
from ..pictures.style import CELLS, FAINT, GRID, INK

FONT = "-apple-system, Segoe UI, Roboto, Helvetica Neue, Liberation Sans, Arial, sans-serif"
# By the side on which a label stands: where its own edge is, and which way the gap goes.
SIDES: dict[str, tuple[str, str, int, int]] = {
    "right": ("left", "middle", 1, 0),
    "left": ("right", "middle", -1, 0),
    "above": ("center", "bottom", 0, 1),
    "below": ("center", "top", 0, -1),
    "below left": ("right", "top", 0, -1),
}


def interactive(picture: Picture) -> go.Figure:
    """A picture as a figure that a pointer asks for what it shows; a page has its title."""
    figure = go.Figure(
        layout={
            "template": "none",
            "font": {"family": FONT, "size": 12, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "margin": {"l": 10, "r": 10, "t": 16, "b": 10},
            "height": picture.height,
            "bargap": 0.35,
            "hoverlabel": {"bgcolor": "white", "bordercolor": GRID, "align": "left"},
            "xaxis": _axis(picture.x),
            "yaxis": _axis(picture.y),
        }
    )
    for layer in picture.layers:
        _add(layer, figure, picture)
    has_names = any(getattr(layer, "name", "") for layer in picture.layers)
    # Above the picture, where it covers nothing.
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return figure.update_layout(showlegend=has_names, legend=legend)


def _axis(axis: Axis) -> dict[str, Any]:
    looks: dict[str, Any] = {
        "title": {"text": plain(axis.title), "standoff": 8},
        "showgrid": not axis.bare,
        "gridcolor": GRID,
        "linecolor": FAINT,
        "showline": not axis.bare,
        "zeroline": False,
        "ticks": "" if axis.bare else "outside",
        "tickcolor": FAINT,
        "automargin": True,
        "type": "log" if axis.log else "linear",
        "range": [_place(axis, end) for end in axis.span],
    }
    if axis.ticks is not None:
        looks["tickvals"] = [value for value, _ in axis.ticks]
        looks["ticktext"] = [plain(text) for _, text in axis.ticks]
    return looks


def _place(axis: Axis, value: float) -> float:
    """A value as ranges and annotations of plotly have it: its logarithm, where the axis is so."""
    return math.log10(value) if axis.log else value


@functools.singledispatch
def _add(layer: Any, figure: go.Figure, picture: Picture) -> None:
    raise TypeError(f"no way to draw a {type(layer).__name__}")


@_add.register
def _(layer: Cells, figure: go.Figure, picture: Picture) -> None:
    low, high = layer.bar.span
    figure.add_heatmap(
        x=layer.x_edges,
        y=layer.y_edges,
        z=layer.values,
        text=[[_hovered(lines) for lines in row] for row in layer.hover],
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        colorscale=[list(stop) for stop in CELLS],
        zmin=low,
        zmax=high,
        colorbar={
            "title": {"text": plain(layer.bar.title), "side": "right"},
            "tickvals": [value for value, _ in layer.bar.ticks or ()],
            "ticktext": [plain(text) for _, text in layer.bar.ticks or ()],
            "thickness": 10,
            "outlinewidth": 0,
        },
    )
    figure.update_xaxes(showgrid=False).update_yaxes(showgrid=False)


@_add.register
def _(layer: Line, figure: go.Figure, picture: Picture) -> None:
    inside = ["white" if hollow else layer.colour for hollow in layer.hollow] or layer.colour
    line = {"color": layer.colour, "width": layer.width, "dash": layer.dash}
    mode = "+".join(["lines"] * bool(layer.width) + ["markers"] * bool(layer.dot))
    figure.add_scatter(
        # Without points, something must be there for the legend.
        x=list(layer.x) or [None],
        y=list(layer.y) or [None],
        **_named(layer.name),
        **_told(layer.hover),
        mode=mode,
        opacity=layer.opacity,
        line=line | {"shape": "hv" if layer.steps else "linear"},
        marker={
            "size": layer.dot,
            "symbol": "square" if layer.square else "circle",
            "color": inside,
            "line": {"color": layer.colour, "width": 1.2 if layer.hollow else 0},
        },
    )


@_add.register
def _(layer: Points, figure: go.Figure, picture: Picture) -> None:
    colours = layer.colours if isinstance(layer.colours, str) else list(layer.colours)
    edge = {"color": layer.edge, "width": 1.5 if layer.symbol == "star" else 1}
    figure.add_scatter(
        x=list(layer.x),
        y=list(layer.y),
        **_named(""),
        **_told(layer.hover),
        mode="markers",
        cliponaxis=False,
        marker={
            "size": layer.size,
            "symbol": "star" if layer.symbol == "star" else "circle",
            "color": colours,
            "line": edge if layer.edge else {"width": 0},
        },
    )


@_add.register
def _(layer: Band, figure: go.Figure, picture: Picture) -> None:
    figure.add_scatter(
        x=[*layer.x, *reversed(layer.x)] or [None],
        y=[*layer.high, *reversed(layer.low)] or [None],
        **_named(layer.name),
        **_told(()),
        mode="lines",
        fill="toself",
        fillcolor=_see_through(layer.colour, layer.opacity),
        line={"width": 0},
    )


@_add.register
def _(layer: Intervals, figure: go.Figure, picture: Picture) -> None:
    hover = layer.hover or [()] * len(layer.x)
    for at, (x, low, high) in enumerate(zip(layer.x, layer.low, layer.high, strict=True)):
        figure.add_scatter(
            x=[x, x],
            y=[low, high],
            **_named(layer.name if at == 0 else ""),
            **_told([hover[at]] * 2 if layer.hover else ()),
            mode="lines",
            line={"color": layer.colour, "width": layer.width},
            opacity=layer.opacity,
        )


@_add.register
def _(layer: Bars, figure: go.Figure, picture: Picture) -> None:
    figure.add_bar(
        x=list(layer.lengths),
        y=list(layer.y),
        orientation="h",
        marker={"color": layer.colour},
        **_named(""),
        **_told(layer.hover),
    )


@_add.register
def _(layer: Label, figure: go.Figure, picture: Picture) -> None:
    x_anchor, y_anchor, right, up = SIDES[layer.side]
    text = plain(layer.text)
    figure.add_annotation(
        x=_place(picture.x, layer.x),
        y=_place(picture.y, layer.y),
        text=f"<b>{text}</b>" if layer.bold else text,
        font={"color": layer.colour, "size": layer.size},
        bgcolor="rgba(255,255,255,.85)" if layer.boxed else None,
        borderpad=1,
        showarrow=False,
        xanchor=x_anchor,
        yanchor=y_anchor,
        xshift=right * layer.gap,
        yshift=up * layer.gap,
    )


def _named(name: str) -> dict[str, Any]:
    return {"name": plain(name), "showlegend": True} if name else {"showlegend": False}


def _told(hover: Sequence[Hover]) -> dict[str, Any]:
    """What a pointer on each point shows; nothing where nothing is told."""
    if not hover:
        return {"hoverinfo": "skip"}
    return {"hovertext": [_hovered(lines) for lines in hover], "hoverinfo": "text"}


def _hovered(lines: Hover) -> str:
    if not lines:
        return ""
    first, *others = map(plain, lines)
    return "<br>".join([f"<b>{first}</b>", *others])


def _see_through(colour: str, opacity: float) -> str:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return f"rgba({red},{green},{blue},{opacity})"


def plain(text: str) -> str:
    """Text that plotly shows as it is written, for it reads labels as HTML."""
    return html.escape(text, quote=False)

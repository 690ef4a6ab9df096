"""A picture as data: axes, layers and words, which a renderer for files and one for pages draw.

Whatever is decided about a picture is decided here and once: where it begins and ends, what its
ticks say, what covers what. Layers are drawn in their order. Texts are plain: renderers escape what
would mean something to them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from .style import INK, SECOND

Side = Literal["right", "left", "above", "below", "below left"]
# What a pointer on a mark shows: lines, the first of them a name.
Hover = Sequence[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        span: its ends, the second at the right or on top.
        title: what it measures and the unit.
        log: whether its steps are equal factors.
        ticks: values and what they say; None: wherever the renderer puts numbers.
        bare: whether it has neither a line nor a grid.
    """

    span: tuple[float, float]
    title: str = ""
    log: bool = False
    ticks: Sequence[tuple[float, str]] | None = None
    bare: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cells:
    """Coloured cells between edges, with a bar that says what the colours mean.

    Attributes:
        x_edges: (n_columns + 1) ascending.
        y_edges: (n_rows + 1) ascending.
        values: (n_rows, n_columns); NaN has no cell.
        hover: (n_rows, n_columns) of lines.
        bar: the values' title, span and ticks.
    """

    x_edges: Sequence[float]
    y_edges: Sequence[float]
    values: Any
    hover: Sequence[Sequence[Hover]]
    bar: Axis


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points. A name puts it into the legend; without points it is only there.

    Attributes:
        x: where the points are.
        y: likewise.
        colour: of line and dots.
        name: in the legend; lines of one name have one entry.
        dash: one of `style.DASHES`.
        width: px.
        opacity: of the line.
        dot: diameter of a mark on every point, px; 0: none.
        square: whether marks are squares, not dots.
        hollow: for each point, whether its mark is white inside; empty: none is.
        steps: whether it holds each value until the next.
        hover: for each point.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: str = SECOND
    name: str = ""
    dash: str = "solid"
    width: float = 1.5
    opacity: float = 1.0
    dot: float = 0.0
    square: bool = False
    hollow: Sequence[bool] = ()
    steps: bool = False
    hover: Sequence[Hover] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Points:
    """Marks without a line: dots, or stars with a white edge.

    Attributes:
        x: where they are.
        y: likewise.
        colours: of each, or of all.
        size: diameter, px.
        symbol: what they look like.
        edge: colour of a thin edge; empty: none.
        hover: for each point.
    """

    x: Sequence[float]
    y: Sequence[float]
    colours: Sequence[str] | str
    size: float = 8.0
    symbol: Literal["dot", "star"] = "dot"
    edge: str = "white"
    hover: Sequence[Hover] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Band:
    """The area between two lines."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str
    opacity: float = 0.1
    name: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Intervals:
    """Upright bars, from a low to a high value each."""

    x: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str
    width: float = 1.5
    opacity: float = 1.0
    name: str = ""
    hover: Sequence[Hover] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bars:
    """Lying bars from zero, at places of the upright axis that are 1 apart."""

    y: Sequence[float]
    lengths: Sequence[float]
    colour: str = SECOND
    hover: Sequence[Hover] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Label:
    """A text beside a point.

    Attributes:
        x: the point.
        y: likewise.
        text: without line breaks.
        side: where it stands.
        gap: px between them.
        colour: of the text.
        size: px.
        bold: whether it is.
        boxed: whether it has a white ground, over cells.
    """

    x: float
    y: float
    text: str
    side: Side = "right"
    gap: float = 6.0
    colour: str = INK
    size: float = 11.0
    bold: bool = False
    boxed: bool = False


Layer = Cells | Line | Points | Band | Intervals | Bars | Label


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """Layers over two axes.

    Attributes:
        title: what it shows; a page says so in its own words.
        x: the lying axis.
        y: the upright axis.
        layers: from the bottom to the top.
        height: px, on a page.
    """

    title: str
    x: Axis
    y: Axis
    layers: Sequence[Layer]
    height: int = 420


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sheet:
    """Pictures beside each other under one title, with one legend.

    Attributes:
        title: of all; empty where each picture's own says enough.
        pictures: row by row.
        columns: pictures in a row.
    """

    title: str = ""
    pictures: Sequence[Picture]
    columns: int = 2

"""The map of a space: loss over width and depth, and lines of equal step time."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import contourpy
import numpy as np

from ...objectives.budget import format_budget
from ...objectives.loss_at_time import LossAtTime
from ...objectives.step_cost import step_time_s
from ...search.candidate import Candidate
from ...space.architecture import Architecture
from ..words import describe, shape_of
from .labels import Box
from .picture import Axis, Cells, Label, Layer, Line, Picture, Points, Side
from .style import ACCENT, ON_CELLS, SECOND, SOFT
from .ticks import Span, span_of

# Step times that have a line, ms.
LEVELS_MS = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)]
# Lines of equal step time end at least so far to the right, as a share of the width: others are too
# near each other to be told apart.
LEAST_REACH = 0.15
# Losses nearer to the best than this have one colour, nats per token.
LEAST_BEHIND = 1e-3
# The width and height of most, px.
SIZE = 600, 360
# Of the width and the height of a picture: what a label takes, and what the star and its name do.
LABEL_SHARE, STAR_SHARE = (0.12, 0.055), (0.18, 0.09)

Point = tuple[float, float]


def landscape(
    shapes: Sequence[Candidate], tied: Sequence[Sequence[int]], objective: LossAtTime
) -> Picture:
    """Loss of the best of each width and depth behind the best of all, and equal step times.

    Args:
        shapes: the best of each width and depth, best first.
        tied: widths and depths that are statistically tied with the best.
        objective: gives the step times.
    """
    best = shapes[0]
    cells = _cells(shapes)
    spans = span_of(cells.x_edges, 0.02), span_of(cells.y_edges, 0.02)
    others = sorted({tuple(shape) for shape in tied} - {best.shape})
    return Picture(
        title=(
            f"Best of each shape in {format_budget(objective.time_budget_s)} on {objective.machine}"
        ),
        x=Axis(title="width, d_model", span=spans[0]),
        y=Axis(title="depth, n_layers", span=spans[1]),
        layers=[
            cells,
            *_step_times(spans, best, objective),
            Points(
                x=[x for x, _ in others],
                y=[y for _, y in others],
                colours="white",
                size=_dot(cells, spans),
                edge="",
            ),
            *_keys(best, others),
            Points(
                x=[best.arch.d_model],
                y=[best.arch.n_layers],
                colours=ACCENT,
                symbol="star",
                size=17,
                hover=[describe(best, best.loss)],
            ),
            Label(
                x=best.arch.d_model, y=best.arch.n_layers, text=shape_of(best), gap=13,
                colour=ACCENT, size=14, bold=True, boxed=True, side=_open_side(best, spans[0]),
            ),
        ],
        height=480,
    )  # fmt: skip


def _dot(cells: Cells, spans: tuple[Span, Span]) -> float:
    """The diameter of a dot that leaves most of a cell to be seen, px."""
    sizes = (
        share * float(np.diff(edges).min()) / (high - low)
        for share, edges, (low, high) in zip(
            SIZE, (cells.x_edges, cells.y_edges), spans, strict=True
        )
    )
    return min(3.0, max(1.0, 0.4 * min(sizes)))


def _keys(best: Candidate, tied: Sequence[Any]) -> Iterator[Layer]:
    """What the legend explains."""
    yield Line(x=(), y=(), name="equal step time", colour=ON_CELLS, width=1)
    if tied:
        name = f"statistically tied with {shape_of(best)}"
        yield Line(x=(), y=(), name=name, colour=SECOND, width=0, dot=6, hollow=[True])


def _open_side(best: Candidate, span: Span) -> Side:
    return "left" if best.arch.d_model > span[0] + 0.8 * (span[1] - span[0]) else "right"


def _cells(shapes: Sequence[Candidate]) -> Cells:
    """A cell a shape; white between widths or depths that are further apart than most."""
    x_edges, columns = _edges(sorted({c.arch.d_model for c in shapes}))
    y_edges, rows = _edges(sorted({c.arch.n_layers for c in shapes}))
    values = np.full((len(y_edges) - 1, len(x_edges) - 1), math.nan)
    hover: list[list[tuple[str, ...]]] = [[()] * values.shape[1] for _ in range(values.shape[0])]
    for shape in shapes:
        row, column = rows[shape.arch.n_layers], columns[shape.arch.d_model]
        values[row, column] = math.log10(max(shape.loss - shapes[0].loss, LEAST_BEHIND))
        hover[row][column] = describe(shape, shapes[0].loss)
    lowest = math.log10(LEAST_BEHIND)
    highest = float(max(np.nanmax(values), lowest + 1))
    ticks = [(float(e), f"{10.0**e:g}") for e in range(math.ceil(lowest), math.floor(highest) + 1)]
    ticks[0] = (lowest, f"≤ {LEAST_BEHIND:g}")
    bar = Axis(title="nats per token behind the best", span=(lowest, highest), ticks=ticks)
    return Cells(x_edges=x_edges, y_edges=y_edges, values=values, hover=hover, bar=bar)


def _edges(values: Sequence[int]) -> tuple[list[float], dict[int, int]]:
    """Edges of cells around ascending values, and which cell is whose.

    A cell reaches half way to its neighbours, but no further than most do.
    """
    gaps = np.diff(values) if len(values) > 1 else np.array([1.0])
    most = float(np.median(gaps)) / 2
    edges, cells = [values[0] - most], {values[0]: 0}
    for before, value in itertools.pairwise(values):
        half = min((value - before) / 2, most)
        edges.append(before + half)
        if value - half > before + half:
            edges.append(value - half)
        cells[value] = len(edges) - 1
    return [*edges, values[-1] + most], cells


def _step_times(
    spans: tuple[Span, Span], best: Candidate, objective: LossAtTime
) -> Iterator[Layer]:
    """Lines of equal step time, each with its milliseconds where there is room for them."""
    (left, right), (bottom, top) = spans
    contours = contourpy.contour_generator(*_mesh(right, top, best.arch, objective))
    taken = [Box(*_share(best.shape, spans), *STAR_SHARE)]
    labels = []
    for level in LEVELS_MS:
        for line in map(np.asarray, contours.lines(level)):
            inside = (line > (left, bottom)).all(1) & (line < (right, top)).all(1)
            points = [(float(x), float(y)) for x, y in line[inside]]
            if not points or max(points)[0] < left + LEAST_REACH * (right - left):
                continue
            yield Line(x=[x for x, _ in points], y=[y for _, y in points], colour=ON_CELLS, width=1)
            if place := _free_place(points, taken, spans):
                labels.append(
                    Label(
                        x=place[0], y=place[1], text=_time(level), gap=0, side="left",
                        colour=SOFT, size=10, boxed=True,
                    )
                )  # fmt: skip
    yield from labels


def _time(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:g} s"


def _mesh(
    width: float, depth: float, like: Architecture, objective: LossAtTime
) -> tuple[np.ndarray, ...]:
    """Widths, depths and step times in ms, of d_ff = 4 d_model and heads as wide as one's.

    Args:
        width: up to where.
        depth: likewise.
        like: gives the width of a head, and the other fields.
        objective: gives the step time.
    """
    # Whole heads, and two of each, which lines need.
    head = like.d_head
    widths = np.arange(head, max(width, head + 1) + head, float(head))
    depths = np.arange(1.0, max(depth, 2) + 2)[:, None]
    heads = widths / head
    mesh = dataclasses.replace(
        like, d_model=widths, n_layers=depths, n_heads=heads, n_kv_heads=heads, d_ff=4 * widths
    )
    times_ms = 1e3 * step_time_s(objective.device, mesh, objective.executions[0])
    return tuple(np.broadcast_arrays(widths, depths, times_ms))


def _free_place(points: list[Point], taken: list[Box], spans: tuple[Span, Span]) -> Point | None:
    """The point nearest a line's wide end where a label covers nothing; it is taken then."""
    for point in sorted(points, reverse=True):
        x, y = _share(point, spans)
        box = Box(x - LABEL_SHARE[0] / 2, y, *LABEL_SHARE)
        if not box.outside and not any(map(box.overlap, taken)):
            taken.append(box)
            return point
    return None


def _share(point: Point, spans: tuple[Span, Span]) -> Point:
    """A point in shares of a picture's width and height."""
    (left, right), (bottom, top) = spans
    return (point[0] - left) / (right - left), (point[1] - bottom) / (top - bottom)

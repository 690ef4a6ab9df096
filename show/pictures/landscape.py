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
from .labels import Box, share
from .picture import Axis, Cells, Label, Layer, Line, Picture, Points
from .style import ACCENT, ON_CELLS, SECOND, SOFT
from .ticks import Span, Ticks, log_span_of, number_ticks, width_ticks

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
    shapes: Sequence[Candidate],
    tied: Sequence[Sequence[int]],
    objective: LossAtTime,
    winner: Candidate | None = None,
) -> Picture:
    """Loss of the best of each width and depth behind the best of all, and equal step times.

    Args:
        shapes: the best of each width and depth, best first.
        tied: widths and depths that are statistically tied with the best.
        objective: gives the step times.
        winner: the star; None: the best.
    """
    best = winner or shapes[0]
    cells = _cells(shapes)
    widths, depths = (axis_span(edges) for edges in (cells.x_edges, cells.y_edges))
    x = Axis(title="width, d_model", span=widths, log=True, ticks=width_ticks(widths))
    y = Axis(title="depth, n_layers", span=depths, log=True, ticks=whole_ticks(depths))
    others = sorted({tuple(shape) for shape in tied} - {best.shape})
    return Picture(
        title=(
            f"Best of each shape in {format_budget(objective.time_budget_s)} on {objective.machine}"
        ),
        x=x,
        y=y,
        layers=[
            cells,
            *_step_times(x, y, best, objective),
            Points(
                x=[width for width, _ in others],
                y=[depth for _, depth in others],
                colours="white",
                size=_dot(cells, x, y, best),
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
                colour=ACCENT, size=14, bold=True, boxed=True,
                side="left" if share(x, best.arch.d_model) > 0.8 else "right",
            ),
        ],
        height=480,
    )  # fmt: skip


def whole_ticks(span: Span) -> Ticks:
    """Plain numbers that depths can be."""
    return [(value, text) for value, text in number_ticks(span) if value == round(value)]


def axis_span(edges: Sequence[float]) -> Span:
    """From the first to the last, and a little more."""
    return log_span_of((edges[0], edges[-1]), 0.02)


def _dot(cells: Cells, x: Axis, y: Axis, best: Candidate) -> float:
    """The diameter of a dot that leaves most of a cell near the best to be seen, px."""
    sizes = []
    for size, axis, edges, at in zip(
        SIZE, (x, y), (cells.x_edges, cells.y_edges), best.shape, strict=True
    ):
        above = int(np.searchsorted(edges, at))
        sizes.append(size * (share(axis, edges[above]) - share(axis, edges[above - 1])))
    return min(3.0, max(1.0, 0.4 * min(sizes)))


def _keys(best: Candidate, tied: Sequence[Any]) -> Iterator[Layer]:
    """What the legend explains."""
    yield Line(x=(), y=(), name="equal step time", colour=ON_CELLS, width=1)
    if tied:
        name = f"statistically tied with {shape_of(best)}"
        yield Line(x=(), y=(), name=name, colour=SECOND, width=0, dot=6, hollow=[True])


def _cells(shapes: Sequence[Candidate]) -> Cells:
    """A cell a shape; white between widths or depths that are further apart than most."""
    x_edges, columns = edges_of(sorted({c.arch.d_model for c in shapes}))
    y_edges, rows = edges_of(sorted({c.arch.n_layers for c in shapes}))
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


def edges_of(values: Sequence[int]) -> tuple[list[float], dict[int, int]]:
    """Edges of cells around ascending values, and which cell is whose.

    A cell reaches half way to its neighbours, but no further than most do, and not to zero.
    """
    gaps = np.diff(values) if len(values) > 1 else np.array([1.0])
    most = float(np.median(gaps)) / 2
    edges, cells = [values[0] - min(most, values[0] / 3)], {values[0]: 0}
    for before, value in itertools.pairwise(values):
        half = min((value - before) / 2, most)
        edges.append(before + half)
        if value - half > before + half:
            edges.append(value - half)
        cells[value] = len(edges) - 1
    return [*edges, values[-1] + most], cells


def _step_times(x: Axis, y: Axis, best: Candidate, objective: LossAtTime) -> Iterator[Layer]:
    """Lines of equal step time, each with its milliseconds where there is room for them."""
    mesh = _mesh(x.span[1], y.span[1], best.arch, objective)
    # Powers of width and depth are straight lines among logarithms.
    contours = contourpy.contour_generator(*map(np.log, mesh))
    taken = [Box(share(x, best.arch.d_model), share(y, best.arch.n_layers), *STAR_SHARE)]
    labels = []
    for level in LEVELS_MS:
        for line in contours.lines(math.log(level)):
            points = [
                (width, depth)
                for width, depth in np.exp(np.asarray(line)).tolist()
                if x.span[0] < width < x.span[1] and y.span[0] < depth < y.span[1]
            ]
            if not points or share(x, max(points)[0]) < LEAST_REACH:
                continue
            yield Line(
                x=[width for width, _ in points],
                y=[depth for _, depth in points],
                colour=ON_CELLS,
                width=1,
            )
            if place := _free_place(x, y, points, taken):
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
    times_ms = 1e3 * step_time_s(objective.device, mesh, objective.simplest)
    return tuple(np.broadcast_arrays(widths, depths, times_ms))


def _free_place(x: Axis, y: Axis, points: list[Point], taken: list[Box]) -> Point | None:
    """The point nearest a line's wide end where a label covers nothing; it is taken then."""
    for width, depth in sorted(points, reverse=True):
        box = Box(share(x, width) - LABEL_SHARE[0] / 2, share(y, depth), *LABEL_SHARE)
        if not box.outside and not any(map(box.overlap, taken)):
            taken.append(box)
            return width, depth
    return None

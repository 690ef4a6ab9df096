"""The pictures of a batch's page: their axes hold all of it, and the page's script fills them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..pictures.landscape import axis_span, edges_of, whole_ticks
from ..pictures.picture import Axis, Band, Cells, Line, Picture, Points
from ..pictures.style import ACCENT, FAINT, SECOND
from ..pictures.ticks import (
    Span,
    Ticks,
    count_ticks,
    log_span_of,
    number_ticks,
    time_ticks,
    width_ticks,
)
from .page import Section

# Width, depth and loss of each of a search's best shapes, best first.
Losses = Sequence[tuple[int, int, float]]
# What is further behind the best has no colour, nats per token.
MOST_BEHIND = 0.1
# Losses are told in thousandths of a nat, and nearer ones look alike.
STEP = 1e-3


class Valleys:
    """The maps of all searches over one pair of axes.

    Attributes:
        widths, depths: that any of the maps has, ascending.
    """

    def __init__(self, searches: Sequence[Losses]) -> None:
        """Of the best shapes of each search."""
        near = [shape for losses in searches for shape in _near(losses)]
        self.widths = sorted({width for width, _, _ in near})
        self.depths = sorted({depth for _, depth, _ in near})

    def __bool__(self) -> bool:
        """Whether there is more than a point to show."""
        return len(self.widths) > 1 or len(self.depths) > 1

    def axes(self) -> dict[str, Any]:
        """Widths and depths, and in which column and row of the picture's cells each of them is."""
        columns, rows = (edges_of(values)[1] for values in (self.widths, self.depths))
        return {
            "widths": self.widths,
            "depths": self.depths,
            "columns": [columns[width] for width in self.widths],
            "rows": [rows[depth] for depth in self.depths],
        }

    def of(self, losses: Losses) -> list[list[int | None]]:
        """A search's map, a column a width that has any shape near the best.

        Each is the width's place, the first depth's place, and from there upwards how far each is
        behind the best, in thousandths of a nat; None: not known.
        """
        best = losses[0][2] if losses else 0.0
        by_width: dict[int, dict[int, int]] = {}
        for width, depth, loss in _near(losses):
            place = self.depths.index(depth)
            by_width.setdefault(width, {})[place] = round((loss - best) / STEP)
        return [
            [
                self.widths.index(width),
                min(behind),
                *(behind.get(place) for place in range(min(behind), max(behind) + 1)),
            ]
            for width, behind in sorted(by_width.items())
        ]

    def section(self) -> Section:
        """The map, empty."""
        (x_edges, _), (y_edges, _) = edges_of(self.widths), edges_of(self.depths)
        x, y = axis_span(x_edges), axis_span(y_edges)
        span = math.log10(STEP), math.log10(MOST_BEHIND)
        ticks = [(at, f"{10**at:.2g}") for at in (span[0], math.log10(0.01), span[1])]
        ticks[0] = (span[0], f"≤ {STEP:g}")
        empty = np.full((len(y_edges) - 1, len(x_edges) - 1), math.nan)
        return Section(
            finding="The valley: shapes that lose little",
            text="Each cell is the best model of its width and depth, darker the nearer its loss "
            f"is to the lowest; what is {MOST_BEHIND:g} nats or more behind has none. The star is "
            "the winner. Drag the time budget, and the valley moves.",
            pictures=[
                Picture(
                    title="nats per token behind the best",
                    x=Axis(title="width, d_model", span=x, log=True, ticks=width_ticks(x)),
                    y=Axis(title="depth, n_layers", span=y, log=True, ticks=whole_ticks(y)),
                    layers=[
                        Cells(
                            x_edges=x_edges,
                            y_edges=y_edges,
                            values=empty,
                            hover=[[()] * empty.shape[1]] * empty.shape[0],
                            bar=Axis(title="nats behind the best", span=span, ticks=ticks),
                        ),
                        Points(x=(), y=(), colours=ACCENT, size=17, symbol="star"),
                    ],
                )
            ],
        )


def _near(losses: Losses) -> list[tuple[int, int, float]]:
    return [one for one in losses if one[2] - losses[0][2] < MOST_BEHIND]


def over_time(certified: Sequence[Any]) -> Section:
    """Loss and size of the winners against time, without points."""
    losses = [row.predicted_loss for row in certified]
    losses += [end for row in certified for end in (row.loss_low, row.loss_high) if end]
    sizes = [row.n_params for row in certified]
    sizes += [end for row in certified for end in (row.n_params_low, row.n_params_high) if end]
    times = [row.time_budget_s for row in certified]
    return Section(
        finding="More time, a lower loss and a larger model",
        text="Each dot is the certified winner of a budget on the machine chosen, the star "
        "that of the budget chosen; the area holds 95% of the draws of law and step time. "
        "Grey: the other machines.",
        pictures=[
            _picture("predicted loss, nats per token", times, losses, number_ticks),
            _picture("parameters", times, sizes, count_ticks),
        ],
    )


def _picture(
    title: str, times: list[float], values: list[float], ticks: Callable[[Span], Ticks]
) -> Picture:
    """Axes that hold the whole batch, and a layer for each that the script fills, in its order."""
    across, up = log_span_of(times), log_span_of(values)
    return Picture(
        title=title,
        x=Axis(title="time budget", span=across, log=True, ticks=time_ticks(across)),
        y=Axis(title=title, span=up, log=True, ticks=ticks(up)),
        layers=[
            Line(x=(), y=(), name="other machines", colour=FAINT, width=1, dot=4),
            Band(x=(), low=(), high=(), name="95% of the draws", colour=SECOND, opacity=0.12),
            Line(x=(), y=(), name="the machine chosen", dot=7),
            Points(x=(), y=(), colours=ACCENT, size=16, symbol="star"),
        ],
        height=360,
    )

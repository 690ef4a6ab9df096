"""The report's map of a space: loss over width and depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import contourpy
import numpy as np
import plotly.graph_objects as go

from ...objectives.loss_at_time import LossAtTime
from ...search.candidate import Candidate
from ..pictures.curves import STEP_TIME_LEVELS, step_time_mesh
from .style import ACCENT, SOFT, base_figure, describe, shape_of

# Dark is near the best.
SCALE = [[0.0, "#172554"], [0.3, "#1d4ed8"], [0.65, "#93b4f5"], [1.0, "#e6edf9"]]
# Lines of equal step time end at least so far to the right, as a share of the width: others are too
# near each other to be told apart.
LEAST_REACH = 0.15
# Losses nearer to the best than this have one colour, nats per token.
LEAST_BEHIND = 1e-3


def draw_landscape(
    shapes: Sequence[Candidate], tied: Sequence[Sequence[int]], objective: LossAtTime
) -> go.Figure:
    """Loss of the best of each width and depth behind the best of all, and equal step times."""
    figure = base_figure("width, d_model", "depth, n_layers")
    widths = sorted({c.arch.d_model for c in shapes})
    depths = sorted({c.arch.n_layers for c in shapes})
    z = np.full((len(depths), len(widths)), math.nan)
    texts = np.full(z.shape, "", dtype=object)
    for shape in shapes:
        at = depths.index(shape.arch.n_layers), widths.index(shape.arch.d_model)
        z[at] = math.log10(max(shape.loss - shapes[0].loss, LEAST_BEHIND))
        texts[at] = describe(shape, shapes[0].loss)
    ticks = [e for e in range(-3, 4) if e <= max(np.nanmax(z), -2)]
    figure.add_heatmap(
        x=widths,
        y=depths,
        z=z,
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        xgap=0.5,
        ygap=0.5,
        colorscale=SCALE,
        zmin=-3,
        zmax=float(max(np.nanmax(z), -2)),
        colorbar={
            "title": {"text": "nats per token behind the best", "side": "right"},
            "tickvals": ticks,
            "ticktext": [f"{10.0**e:g}" for e in ticks],
            "thickness": 10,
            "outlinewidth": 0,
        },
    )
    _add_step_times(figure, widths, depths, shapes[0], objective)
    _add_marks(figure, shapes[0], tied)
    figure.update_xaxes(range=_span(widths), showgrid=False)
    figure.update_yaxes(range=_span(depths), showgrid=False)
    return figure.update_layout(height=480)


def _add_step_times(
    figure: go.Figure,
    widths: Sequence[int],
    depths: Sequence[int],
    best: Candidate,
    objective: LossAtTime,
) -> None:
    """Lines of equal step time, each with its milliseconds at its wide end."""
    contours = contourpy.contour_generator(
        *step_time_mesh(widths[-1], max(depths[-1], 2), best.arch, objective)
    )
    (left, right), (bottom, top) = _span(widths), _span(depths)
    for level in STEP_TIME_LEVELS:
        for line in map(np.asarray, contours.lines(level)):
            inside = (line > (left, bottom)).all(1) & (line < (right, top)).all(1)
            x, y = line[inside].T
            if not len(x) or x.max() < left + LEAST_REACH * (right - left):
                continue
            at = int(np.argmax(x))
            style = {"color": SOFT, "width": 0.8}
            figure.add_scatter(x=x, y=y, mode="lines", line=style, hoverinfo="skip")
            figure.add_annotation(
                x=x[at], y=y[at], text=f"{level:g} ms", showarrow=False, bgcolor="white",
                font={"size": 10, "color": SOFT}, borderpad=1, xanchor="right", yanchor="bottom",
            )  # fmt: skip


def _add_marks(figure: go.Figure, best: Candidate, tied: Sequence[Sequence[int]]) -> None:
    """Dots on the shapes that are tied with the best, and a star on it."""
    others = sorted({tuple(shape) for shape in tied} - {best.shape})
    figure.add_scatter(
        x=[d_model for d_model, _ in others],
        y=[n_layers for _, n_layers in others],
        mode="markers",
        marker={"size": 3, "color": "white"},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=[best.arch.d_model],
        y=[best.arch.n_layers],
        mode="markers",
        marker={
            "symbol": "star",
            "size": 17,
            "color": ACCENT,
            "line": {"color": "white", "width": 1.5},
        },
        hovertext=[describe(best, best.loss)],
        hoverinfo="text",
    )
    figure.add_annotation(
        x=best.arch.d_model, y=best.arch.n_layers, text=f"<b>{shape_of(best)}</b>",
        font={"color": ACCENT, "size": 14}, bgcolor="rgba(255,255,255,.85)",
        showarrow=False, xanchor="left", xshift=14, yshift=-14,
    )  # fmt: skip


def _span(values: Sequence[int]) -> tuple[float, float]:
    """From the lowest to the highest, with a little beside them."""
    margin = 0.03 * (values[-1] - values[0]) or 1
    return values[0] - margin, values[-1] + margin

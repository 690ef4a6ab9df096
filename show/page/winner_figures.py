"""The report's figures of a winner: its loss against time, and where its time goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from ...objectives.uncertainty import Standing
from ...search.candidate import Candidate
from ..pictures.curves import OverTime
from ..terminal.found import short_count
from .style import ACCENT, LINE, SECOND, SOFT, base_figure, describe, shape_of, time_text

PART_NAMES = {
    "qkv": "query, key, value",
    "scores": "attention scores",
    "weighted_values": "weighted values",
    "attention_output": "attention output",
    "mlp_up": "MLP up",
    "mlp_down": "MLP down",
}


def draw_over_time(curves: OverTime, standing: Standing | None) -> go.Figure:
    """Loss against time: of one budget's winner, with its interval, and of the best of each."""
    figure = base_figure("training time", "predicted loss, nats per token")
    budgets_s, asked = curves.budgets_s, curves.asked
    winner = f"{shape_of(curves.winner[asked])}, the best in {time_text(budgets_s[asked])}"
    _add_losses(figure, budgets_s, curves.winner, winner, SECOND)
    _add_losses(figure, budgets_s, curves.best, "the best of each time", ACCENT)
    shown = range(asked % 2, len(budgets_s), 2)
    for at in shown:
        if curves.best[at].prediction.feasible:
            figure.add_annotation(
                x=math.log10(budgets_s[at]), y=curves.best[at].loss, text=shape_of(curves.best[at]),
                font={"color": ACCENT, "size": 11}, showarrow=False, yshift=-15,
            )  # fmt: skip
    figure.add_vline(budgets_s[asked], line={"color": SOFT, "width": 1, "dash": "dot"})
    if standing:
        _add_interval(figure, budgets_s[asked], standing)
    ends = math.log10(budgets_s[0] / 1.5), math.log10(budgets_s[-1] * 1.5)
    figure.update_xaxes(
        type="log",
        range=ends,
        tickvals=[budgets_s[at] for at in shown],
        ticktext=[time_text(budgets_s[at]) for at in shown],
    )
    legend = {"x": 0.01, "y": 0.02, "yanchor": "bottom", "bgcolor": "rgba(255,255,255,.8)"}
    return figure.update_layout(showlegend=True, legend=legend)


def _add_losses(
    figure: go.Figure, budgets_s: list[float], candidates: list[Candidate], name: str, colour: str
) -> None:
    points = [(s, c) for s, c in zip(budgets_s, candidates, strict=True) if c.prediction.feasible]
    figure.add_scatter(
        x=[budget_s for budget_s, _ in points],
        y=[candidate.loss for _, candidate in points],
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 6},
        hovertext=[f"{name}: {time_text(s)}<br>{describe(c)}" for s, c in points],
        hoverinfo="text",
    )


def _add_interval(figure: go.Figure, budget_s: float, standing: Standing) -> None:
    low, high = standing.loss_low, standing.loss_high
    figure.add_scatter(
        x=[budget_s, budget_s],
        y=[low, high],
        name="its 95% interval",
        mode="lines",
        line={"color": SECOND, "width": 7},
        opacity=0.3,
        hovertext=f"95% of the draws put the loss between {low:.3f} and {high:.3f} nats per token",
        hoverinfo="text",
    )


def draw_parts(parts: Mapping[str, Mapping[str, Any]]) -> go.Figure:
    """Time of a step by part of the model, as bars, in the order in which a token meets them."""
    figure = base_figure("ms of a step", "")
    total_s = sum(part["step_time_s"] for part in parts.values())
    shares = [part["step_time_s"] / total_s for part in parts.values()]
    figure.add_bar(
        x=[1e3 * part["step_time_s"] for part in parts.values()],
        y=[part_name(name) for name in parts],
        orientation="h",
        marker={"color": SECOND},
        text=[f"{share:.1%}" for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertext=[
            f"<b>{part_name(name)}</b><br>{1e3 * part['step_time_s']:.4g} ms, {share:.1%} of a step"
            f"<br>{short_count(part['flops'])} FLOPs<br>{short_count(part['memcpys'])} memory "
            f"copies (elements)<br>{short_count(part['n_params'])} parameters"
            for (name, part), share in zip(parts.items(), shares, strict=True)
        ],
        hoverinfo="text",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", showline=False)
    figure.update_xaxes(range=[0, 1150 * total_s * max(shares)], gridcolor=LINE)
    return figure.update_layout(bargap=0.35, height=60 + 32 * len(parts))


def part_name(part: str) -> str:
    """A part of a model in words."""
    return PART_NAMES.get(part, part)

"""Interactive figures of a confirmation: measured against predicted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from ...validation.confirm.confirmed import ConfirmedModel
from .page import plain
from .style import ACCENT, SECOND, SOFT, base_figure

TICKS_MS = [m * 10.0**e for e in range(-3, 7) for m in (1, 2, 5)]


def draw_step_times(models: Sequence[ConfirmedModel]) -> go.Figure:
    """Step times of the models that have one, on logarithmic axes."""
    times_s = [(m, m.predicted_step_time_s, m.step_time_s) for m in models]
    timed = [(m, 1e3 * x, 1e3 * y) for m, x, y in times_s if y is not None]
    figure = base_figure("predicted, ms a step", "measured, ms a step")
    _add_models(figure, timed)
    _add_truth(figure, timed)
    ticks = {"tickvals": TICKS_MS, "ticktext": [f"{ms:g}" for ms in TICKS_MS]}
    figure.update_xaxes(type="log", range=_span([math.log10(x) for _, x, _ in timed]), **ticks)
    figure.update_yaxes(type="log", **ticks)
    return figure


def draw_losses(models: Sequence[ConfirmedModel]) -> go.Figure:
    """Losses of the models that have one, with a line from the lowest to the highest seed."""
    known = [(m, m.predicted_loss, m.measured_loss) for m in models if m.measured_loss]
    figure = base_figure("predicted loss, nats per token", "measured loss, nats per token")
    for model, predicted, _ in known:
        if len(model.measured_losses) > 1:
            figure.add_scatter(
                x=[predicted, predicted],
                y=[min(model.measured_losses), max(model.measured_losses)],
                mode="lines",
                line={"color": SOFT, "width": 1.5},
                hoverinfo="skip",
            )
    _add_models(figure, known)
    figure.update_xaxes(range=_span([x for _, x, _ in known]))
    # Where the level is far off, the line of truth lies outside of what there is to see.
    predicted, measured = [x for _, x, _ in known], [y for _, _, y in known]
    if known and min(predicted) <= max(measured) and min(measured) <= max(predicted):
        _add_truth(figure, known)
    return figure


Point = tuple[ConfirmedModel, float, float]


def _add_models(figure: go.Figure, points: Sequence[Point]) -> None:
    """Dots with their names, to the left and right by turns, so that neighbours keep apart."""
    ordered = sorted(points, key=lambda point: point[2])
    sides = ["middle right", "middle left"]
    figure.add_scatter(
        x=[x for _, x, _ in ordered],
        y=[y for _, _, y in ordered],
        mode="markers+text",
        text=[plain(model.label.split(" ")[0]) for model, _, _ in ordered],
        textposition=[sides[at % 2] for at in range(len(ordered))],
        textfont={"size": 11, "color": SOFT},
        cliponaxis=False,
        marker={
            "size": 9,
            "color": [SECOND if m.role == "contrast" else ACCENT for m, _, _ in ordered],
            "line": {"color": "white", "width": 1},
        },
        hovertext=[_describe(model) for model, _, _ in ordered],
        hoverinfo="text",
    )


def _add_truth(figure: go.Figure, points: Sequence[Point]) -> None:
    """The line where measured equals predicted."""
    if values := [value for _, x, y in points for value in (x, y)]:
        figure.add_scatter(
            x=[min(values), max(values)],
            y=[min(values), max(values)],
            mode="lines",
            line={"color": SOFT, "width": 1, "dash": "dash"},
            hoverinfo="skip",
        )


def _span(values: Sequence[float]) -> list[float] | None:
    """From the lowest to the highest, with room for names beside them."""
    if not values:
        return None
    margin = 0.12 * (max(values) - min(values)) or 0.5
    return [min(values) - margin, max(values) + margin]


def _describe(model: ConfirmedModel) -> str:
    """Everything predicted and measured of one model."""
    lines = [f"<b>{plain(model.label)}</b> ({plain(model.role)})"]
    for what, unit, predicted, measured in (
        ("loss", "nats per token", model.predicted_loss, model.measured_loss),
        ("step", "ms", 1e3 * model.predicted_step_time_s, _times(model.step_time_s, 1e3)),
        ("tokens", "million", model.predicted_n_tokens / 1e6, _times(model.n_tokens, 1e-6)),
    ):
        known = "not measured" if measured is None else f"measured {measured:,.4g}"
        lines.append(f"{what}: predicted {predicted:,.4g}, {known} {unit}")
    seeds = "seed" if model.n_seeds == 1 else "seeds"
    lines.append(f"{model.n_params:,} parameters, {model.n_seeds} {seeds}")
    return "<br>".join(lines)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor

"""Measured against predicted: the losses and the step times of models that were trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...validation.confirm.confirmed import Confirmed, ConfirmedModel
from .labels import free_sides
from .picture import Axis, Intervals, Label, Layer, Line, Picture, Points, Sheet
from .style import ACCENT, FAINT, SECOND, SOFT
from .ticks import Span, log_span_of, number_ticks, span_of

# Room for the names beside the dots.
MARGIN = 0.15
COLOURS = {False: ACCENT, True: SECOND}
ROLES = {False: "the best of the search", True: "contrast, spread over predicted loss"}
Point = tuple[ConfirmedModel, float, float]


def confirmation(confirmed: Confirmed) -> Sheet:
    """Both beside each other, each with how well they agree."""
    return Sheet(pictures=[step_times(confirmed), losses(confirmed)])


def step_times(confirmed: Confirmed) -> Picture:
    """Step times of the models that have one, on logarithmic axes."""
    points = [
        (m, 1e3 * m.predicted_step_time_s, 1e3 * m.step_time_s)
        for m in confirmed.models
        if m.step_time_s is not None
    ]
    x_span, y_span = _spans(points, log=True)
    x = Axis(title="predicted, ms a step", span=x_span, log=True, ticks=number_ticks(x_span))
    y = Axis(title="measured, ms a step", span=y_span, log=True, ticks=number_ticks(y_span))
    return Picture(
        title=_title("Step time", confirmed.log_step_time.r_squared, "R² of logarithms"),
        x=x,
        y=y,
        layers=[*_truth(x_span, y_span), *_models(points, x, y)],
    )


def losses(confirmed: Confirmed) -> Picture:
    """Losses of the models that have one, with a line from the lowest to the highest seed."""
    points = [
        (m, m.predicted_loss, m.measured_loss)
        for m in confirmed.models
        if m.measured_loss is not None
    ]
    seeds = [(x, m.measured_losses) for m, x, _ in points if len(m.measured_losses) > 1]
    x_span, y_span = _spans(points, [loss for _, some in seeds for loss in some])
    x = Axis(title="predicted loss, nats per token", span=x_span)
    y = Axis(title="measured loss, nats per token", span=y_span)
    ranges = Intervals(
        x=[x for x, _ in seeds],
        low=[min(some) for _, some in seeds],
        high=[max(some) for _, some in seeds],
        colour=FAINT,
        name="lowest to highest seed",
    )
    return Picture(
        title=_title("Loss", confirmed.loss.spearman, "Spearman"),
        x=x,
        y=y,
        layers=[*_truth(x_span, y_span), *[ranges] * bool(seeds), *_models(points, x, y)],
    )


def _spans(
    points: Sequence[Point], besides: Sequence[float] = (), *, log: bool = False
) -> tuple[Span, Span]:
    """Of what was predicted and of what was measured; something where there is nothing."""
    if not points:
        return (1.0, 10.0), (1.0, 10.0)
    span = log_span_of if log else span_of
    measured = [*(y for _, _, y in points), *besides]
    return span([x for _, x, _ in points], MARGIN), span(measured, MARGIN)


def _truth(x_span: Span, y_span: Span) -> list[Layer]:
    """The line where measured equals predicted, as far as there is any of it to see."""
    low, high = max(x_span[0], y_span[0]), min(x_span[1], y_span[1])
    if low >= high:
        return []
    ends, name = [low, high], "measured as predicted"
    return [Line(x=ends, y=ends, name=name, colour=SOFT, width=1, dash="dash")]


def _models(points: Sequence[Point], x: Axis, y: Axis) -> Iterator[Layer]:
    """Dots with their names."""
    ordered = sorted(points, key=lambda point: point[2])
    roles = {model.role == "contrast" for model, _, _ in ordered}
    for is_contrast, name in ROLES.items():
        if is_contrast in roles:
            yield Line(x=(), y=(), name=name, colour=COLOURS[is_contrast], width=0, dot=9)
    yield Points(
        x=[predicted for _, predicted, _ in ordered],
        y=[measured for _, _, measured in ordered],
        colours=[COLOURS[model.role == "contrast"] for model, _, _ in ordered],
        size=9,
        hover=[_describe(model) for model, _, _ in ordered],
    )
    names = [model.label.split(" ")[0] for model, _, _ in ordered]
    places = [(predicted, measured) for _, predicted, measured in ordered]
    low, high = max(x.span[0], y.span[0]), min(x.span[1], y.span[1])
    truth = [(value, value) for value in np.geomspace(low, high, 60)] if low < high else []
    sides = free_sides(x, y, places, names, truth)
    for place, name, side in zip(places, names, sides, strict=True):
        yield Label(x=place[0], y=place[1], text=name, side=side, gap=8, colour=SOFT)


def _describe(model: ConfirmedModel) -> tuple[str, ...]:
    """Everything predicted and measured of one model."""
    lines = [f"{model.label} ({model.role})"]
    for what, unit, predicted, measured, factor in (
        ("loss", "nats per token", model.predicted_loss, model.measured_loss, 1),
        ("step", "ms", model.predicted_step_time_s, model.step_time_s, 1e3),
        ("tokens", "million", model.predicted_n_tokens, model.n_tokens, 1e-6),
    ):
        known = "not measured" if measured is None else f"measured {measured * factor:,.4g}"
        lines.append(f"{what}: predicted {predicted * factor:,.4g}, {known} {unit}")
    seeds = "seed" if model.n_seeds == 1 else "seeds"
    return (*lines, f"{model.n_params:,} parameters, {model.n_seeds} {seeds}")


def _title(what: str, value: float | None, name: str) -> str:
    return what if value is None else f"{what}: {name} {value:.2f}"

"""Measured against predicted: the losses and the step times of models that were trained."""

from __future__ import annotations

from collections.abc import Sequence

from ...validation.confirm.confirmed import Confirmed, ConfirmedModel
from .picture import Axis, Intervals, Label, Layer, Line, Picture, Points, Sheet
from .style import ACCENT, FAINT, SECOND, SOFT
from .ticks import Span, log_span_of, number_ticks, span_of

# Room for the names beside the dots.
MARGIN = 0.15
COLOURS = {"contrast": SECOND}
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
    return Picture(
        title=_title("Step time", confirmed.log_step_time.r_squared, "R² of logarithms"),
        x=Axis(title="predicted, ms a step", span=x_span, log=True, ticks=number_ticks(x_span)),
        y=Axis(title="measured, ms a step", span=y_span, log=True, ticks=number_ticks(y_span)),
        layers=[*_truth(x_span, y_span), *_models(points)],
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
    return Picture(
        title=_title("Loss", confirmed.loss.spearman, "Spearman"),
        x=Axis(title="predicted loss, nats per token", span=x_span),
        y=Axis(title="measured loss, nats per token", span=y_span),
        layers=[
            *_truth(x_span, y_span),
            Intervals(
                x=[x for x, _ in seeds],
                low=[min(some) for _, some in seeds],
                high=[max(some) for _, some in seeds],
                colour=FAINT,
            ),
            *_models(points),
        ],
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
    return [Line(x=[low, high], y=[low, high], colour=SOFT, width=1, dash="dash")] * (low < high)


def _models(points: Sequence[Point]) -> list[Layer]:
    """Dots with their names, to the right and left by turns, so that neighbours keep apart."""
    ordered = sorted(points, key=lambda point: point[2])
    dots = Points(
        x=[x for _, x, _ in ordered],
        y=[y for _, _, y in ordered],
        colours=[COLOURS.get(model.role, ACCENT) for model, _, _ in ordered],
        size=9,
        hover=[_describe(model) for model, _, _ in ordered],
    )
    return [
        dots,
        *(
            Label(
                x=x, y=y, text=model.label.split(" ")[0], side="left" if turn % 2 else "right",
                gap=8, colour=SOFT,
            )
            for turn, (model, x, y) in enumerate(ordered)
        ),
    ]  # fmt: skip


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

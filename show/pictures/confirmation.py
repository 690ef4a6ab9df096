"""The figure of a confirmation: measured against predicted, step time and loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...validation.confirm.compare import Comparison, Trained
from .search import ACCENT, SECOND, STYLE

COLOURS = {"contrast": SECOND}


def save_comparison(comparison: Comparison, path: Path) -> None:
    """Draw a comparison into a PNG file."""
    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        draw_comparison(comparison).savefig(path)


def draw_comparison(comparison: Comparison) -> Figure:
    """Two panels of dots: on the dashed line, the prediction came true."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    time_axes, loss_axes = figure.subplots(1, 2)
    time_axes.set(xscale="log", yscale="log", xlabel="predicted, ms", ylabel="measured, ms")
    timed = [m for m in comparison.models if m.step_time_s is not None]
    _scatter(
        time_axes,
        timed,
        [1e3 * m.candidate.prediction.step_time_s for m in timed],
        [1e3 * m.step_time_s for m in timed],  # type: ignore[operator]
    )
    for axis in (time_axes.xaxis, time_axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    time_axes.set_title(_title("Step time", comparison.log_step_time.r_squared, "R² of logarithms"))
    known = [m for m in comparison.models if m.measured_loss is not None]
    _scatter(
        loss_axes,
        known,
        [m.candidate.loss for m in known],
        [m.measured_loss for m in known],  # type: ignore[misc]
        [min(m.losses) for m in known],
        [max(m.losses) for m in known],
    )
    loss_axes.set(xlabel="predicted, nats per token", ylabel="measured, nats per token")
    loss_axes.set_title(_title("Loss", comparison.loss.spearman, "Spearman"))
    return figure


def _scatter(
    axes: Axes,
    models: Sequence[Trained],
    predicted: Sequence[float],
    measured: Sequence[float],
    lowest: Sequence[float] = (),
    highest: Sequence[float] = (),
) -> None:
    """Dots with their shapes, a bar from the lowest to the highest seed, and the line of truth."""
    axes.margins(0.15)
    if lowest:
        axes.vlines(predicted, lowest, highest, color="0.6", linewidth=1, zorder=1)
    colours = [COLOURS.get(model.role, ACCENT) for model in models]
    axes.scatter(predicted, measured, c=colours, s=28, zorder=2)
    # To the left and right by turns, so that neighbours do not cover each other.
    for turn, i in enumerate(sorted(range(len(models)), key=lambda i: measured[i])):
        arch = models[i].candidate.arch
        axes.annotate(
            f"{arch.d_model}×{arch.n_layers}",
            (predicted[i], measured[i]),
            (-7, -3) if turn % 2 else (7, -3),
            textcoords="offset points",
            ha="right" if turn % 2 else "left",
            fontsize=8,
        )
    x_limits, y_limits = axes.get_xlim(), axes.get_ylim()
    ends = (min(*x_limits, *y_limits), max(*x_limits, *y_limits))
    axes.plot(ends, ends, "--", color="0.6", linewidth=0.8, zorder=0)
    axes.set(xlim=x_limits, ylim=y_limits)


def _title(what: str, value: float | None, name: str) -> str:
    return what if value is None else f"{what}: {name} {value:.2f}"

"""Figures of a search: the landscape of shapes, loss against time, loss against memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ...objectives.budget import format_budget
from ...objectives.loss_at_time import LossAtTime
from ...search.candidate import Candidate
from ...search.certify.memory_front import memory_front
from ...search.find import Found
from ...space.architecture import Architecture
from ...space.search_space import SearchSpace
from .curves import STEP_TIME_LEVELS, over_time, step_time_mesh

ACCENT, SECOND = "#c2410c", "#1d4ed8"
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "savefig.dpi": 150,
}


def save_figures(found: Found, folder: Path) -> None:
    """Draw all three into a folder as PNG files."""
    shapes, space, objective = found.shapes, found.space, found.objective
    with matplotlib.rc_context(STYLE):
        drawings = {
            "landscape": draw_landscape(shapes, objective),
            "loss_against_time": draw_loss_against_time(shapes[0], space, objective),
            "loss_against_memory": draw_memory_front(memory_front(space, objective), objective),
        }
        for name, figure in drawings.items():
            figure.savefig(folder / f"{name}.png")


def draw_landscape(shapes: list[Candidate], objective: LossAtTime) -> Figure:
    """Predicted loss over width and depth, with lines of equal step time."""
    figure, axes = _figure()
    widths = np.array([c.arch.d_model for c in shapes])
    depths = np.array([c.arch.n_layers for c in shapes])
    behind = np.array([c.loss for c in shapes]) - shapes[0].loss
    dots = axes.scatter(
        widths,
        depths,
        c=np.clip(behind, 1e-3, None),
        norm="log",
        cmap="viridis_r",
        marker="s",
        s=16,
        linewidths=0,
    )
    figure.colorbar(dots, label="loss behind the best, nats per token")
    _draw_step_times(axes, widths, depths, shapes[0].arch, objective)
    axes.plot(widths[0], depths[0], "*", color=ACCENT, markersize=15, markeredgecolor="white")
    axes.annotate(
        f"{widths[0]} × {depths[0]}",
        (widths[0], depths[0]),
        (8, -12),
        textcoords="offset points",
        color=ACCENT,
        weight="bold",
    )
    axes.set(xlabel="d_model", ylabel="n_layers")
    axes.set_title(
        f"Best of each shape in {format_budget(objective.time_budget_s)} on "
        f"{objective.machine}; lines: equal step time"
    )
    return figure


def _draw_step_times(
    axes: Axes, widths: np.ndarray, depths: np.ndarray, like: Architecture, objective: LossAtTime
) -> None:
    """Lines of equal step time of models with d_ff = 4 d_model, heads as wide as the winner's."""
    grid = step_time_mesh(int(widths.max()), int(depths.max()), like, objective)
    lines = axes.contour(*grid, levels=STEP_TIME_LEVELS, colors="0.35", linewidths=0.7)
    axes.clabel(lines, fmt=lambda ms: f"{ms:g} ms", fontsize=8)


def draw_loss_against_time(best: Candidate, space: SearchSpace, objective: LossAtTime) -> Figure:
    """Loss of the winner, and of the best architecture of each budget, against the budget."""
    figure, axes = _figure()
    curves = over_time(best, space, objective)
    budgets, winner, envelope = curves.budgets_s, curves.winner, curves.best
    axes.plot(budgets, _feasible_losses(winner), "o-", color=SECOND, markersize=4)
    axes.plot(budgets, _feasible_losses(envelope), "o-", color=ACCENT, markersize=4)
    axes.axvline(objective.time_budget_s, color="0.6", linewidth=0.8, linestyle=":")
    labels = [f"{c.arch.d_model}×{c.arch.n_layers}" for c in envelope]
    for at, (x, text) in enumerate(zip(budgets, labels, strict=True)):
        if at % 2 == 0:
            axes.annotate(
                text,
                (x, envelope[at].loss),
                (0, -14),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=ACCENT,
            )
    end = f"the winner of {format_budget(objective.time_budget_s)}"
    axes.annotate(
        end, (budgets[0], winner[0].loss), (12, 2), textcoords="offset points", color=SECOND
    )
    axes.set(xscale="log", xlabel="time budget", ylabel="predicted loss, nats per token")
    axes.set_xticks(budgets[::2], [format_budget(budget) for budget in budgets[::2]])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.15)
    axes.set_title(f"The best shape of each budget on {objective.machine}", color=ACCENT)
    return figure


def draw_memory_front(front: list[Candidate], objective: LossAtTime) -> Figure:
    """The Pareto front of predicted loss and memory."""
    figure, axes = _figure()
    memory = [c.prediction.memory_bytes for c in front]
    axes.step(memory, [c.loss for c in front], where="post", color=SECOND)
    best = front[-1]
    axes.plot(best.prediction.memory_bytes, best.loss, "*", color=ACCENT, markersize=13)
    axes.annotate(
        f"{best.arch.d_model} × {best.arch.n_layers}",
        (best.prediction.memory_bytes, best.loss),
        (-8, 10),
        textcoords="offset points",
        ha="right",
        color=ACCENT,
        weight="bold",
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1e9:g} GB"))
    axes.set(xlabel="memory of training", ylabel="predicted loss, nats per token")
    axes.set_title(
        f"No model has both less memory and a lower loss "
        f"({format_budget(objective.time_budget_s)} on {objective.machine})"
    )
    return figure


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    return figure, figure.add_subplot()


def _feasible_losses(candidates: list[Candidate]) -> list[float]:
    return [c.loss if c.prediction.feasible else float("nan") for c in candidates]

"""Figures of a batch: the best model against time, and loss against money."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ...objectives.budget import format_budget
from ...objectives.scaling import PowerLaw, fit_power_law
from ...search.batch.curves import CURVE, curves_of, is_known, n_unlike
from ...search.question import Question
from ..terminal.found import short_count
from .search import STYLE

PALETTE = ("#1d4ed8", "#c2410c", "#047857", "#7e22ce", "#a16207", "#0e7490", "#be123c", "#374151")
PANELS = {
    "n_params": "parameters N",
    "n_tokens": "tokens D",
    "tokens_per_param": "tokens per parameter",
    "d_model": "d_model",
    "n_layers": "n_layers",
    "predicted_loss": "predicted loss, nats per token",
}
# Those with a 95% range of the winners of the draws.
RANGED = ("n_params", "n_tokens", "d_model", "n_layers")
TICKS = (1, 10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400)
MOST_FIGURES = 12
# What the curves of one figure share; each line is of a device and its attention.
FAMILY = [name for name in CURVE if name not in ("device", "attention")]

Curve = tuple[Question, pd.DataFrame]


def save_batch_figures(questions: list[Question], table: pd.DataFrame, folder: Path) -> list[str]:
    """Draw every family of curves, those that differ in device and attention only, into a folder.

    Returns:
        The names of the files: `scaling-LAW.png` for each family, numbered where several are of
        one law, up to `MOST_FIGURES`; `money.png` where a curve has its costs.
    """
    families: dict[tuple, list[Curve]] = {}
    for question, curve in curves_of(questions, table):
        key = tuple(map(str, curve[FAMILY].iloc[0]))
        families.setdefault(key, []).append((question, curve))
    names: list[str] = []
    with matplotlib.rc_context(STYLE):
        for key, curves in list(families.items())[:MOST_FIGURES]:
            several = sum(other[0] == key[0] for other in families) > 1
            law = re.sub(r"[^\w.-]+", "-", key[0]) + (f"-{len(names) + 1}" if several else "")
            names.append(f"scaling-{law}.png")
            draw_scaling(curves).savefig(folder / names[-1])
        if any(is_known(curve["cost_usd"]) for _, curve in curves_of(questions, table)):
            names.append("money.png")
            draw_money(list(curves_of(questions, table))).savefig(folder / names[-1])
    return names


def draw_scaling(curves: list[Curve]) -> Figure:
    """Each quantity of the best model against the time budget, a line a device and attention."""
    figure = Figure(figsize=(11, 6.6), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(2, 3).flat, PANELS.items(), strict=True):
        for colour, (_, curve) in zip(_colours(curves), curves, strict=True):
            _draw_curve(axes, curve, name, colour)
        _time_axis(axes, pd.concat([curve["time_budget_s"] for _, curve in curves]))
        axes.set_yscale("log")
        _count_axis(axes)
        axes.set_title(label)
    question = curves[0][0]
    figure.suptitle(
        f"The best model for a time budget, by {_plain(question.objective.law.name)}"
        + (f" ({'; '.join(question.words.settings)})" if question.words.settings else ""),
        x=0.01, ha="left", weight="bold",
    )  # fmt: skip
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=_label(question, curve))
        for colour, (question, curve) in zip(_colours(curves), curves, strict=True)
    ]
    for label, there, look in (
        ("fitted to N", any(_fit(c) for _, c in curves), {"linestyle": "--", "linewidth": 0.8}),
        (
            "memory is the limit",
            not all(np.all(c["free"]) for _, c in curves),
            {"marker": "o", "markerfacecolor": "white", "linestyle": "none", "markersize": 5},
        ),
        (
            "95% of the draws",
            any(is_known(c["loss_low"]) for _, c in curves),
            {"alpha": 0.25, "linewidth": 8},
        ),
    ):
        if there:
            handles.append(Line2D([], [], color="0.5", label=label, **look))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure


def draw_money(curves: list[Curve]) -> Figure:
    """Predicted loss against US dollars, a line a device and law."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    priced = [(question, curve) for question, curve in curves if is_known(curve["cost_usd"])]
    devices = list(dict.fromkeys(question.objective.machine for question, _ in priced))
    laws = list(dict.fromkeys(question.objective.law.name for question, _ in priced))
    for question, curve in priced:
        device, law = question.objective.machine, question.objective.law.name
        axes.plot(
            curve["cost_usd"], curve["predicted_loss"], marker="o", markersize=4,
            color=PALETTE[devices.index(device) % len(PALETTE)],
            linestyle=("-", "--", ":", "-.")[laws.index(law) % 4],
            label=_plain(device) + (f", {_plain(law)}" if len(laws) > 1 else ""),
        )  # fmt: skip
    axes.set(xscale="log", xlabel="US dollars", ylabel="predicted loss, nats per token")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"${x:,.10g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title("What a loss costs")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _draw_curve(axes: Axes, curve: pd.DataFrame, name: str, colour: str) -> None:
    """Points, hollow where memory is the limit, the fitted power law, and the draws' range."""
    time = curve["time_budget_s"].to_numpy(float)
    values, free = curve[name].to_numpy(float), curve["free"].to_numpy(bool)
    axes.plot(time, values, "-", color=colour, linewidth=1.2, alpha=0.9)
    axes.plot(time[free], values[free], "o", color=colour, markersize=4)
    axes.plot(time[~free], values[~free], "o", color=colour, markersize=4, markerfacecolor="white")
    if name == "n_params" and (fit := _fit(curve)):
        fitted = fit.scale * time**fit.exponent
        axes.plot(time, fitted, "--", color=colour, linewidth=0.8)
    if name in RANGED and is_known(curve[f"{name}_low"]):
        low, high = (curve[f"{name}_{end}"].to_numpy(float) for end in ("low", "high"))
        axes.fill_between(time, low, high, color=colour, alpha=0.08, linewidth=0)
    if name == "predicted_loss" and is_known(curve["loss_low"]):
        low, high = (curve[f"loss_{end}"].to_numpy(float) for end in ("low", "high"))
        axes.fill_between(time, low, high, color=colour, alpha=0.08, linewidth=0)


def _label(question: Question, curve: pd.DataFrame) -> str:
    """A device, and the exponent of N where there is one."""
    fit = _fit(curve)
    name = _plain(question.objective.machine)
    return f"{name}, N ~ T^{fit.exponent:.2f}" if fit else name


def _fit(curve: pd.DataFrame) -> PowerLaw | None:
    """N against time, of the winners that memory does not limit."""
    free = curve[curve["free"]]
    if n_unlike(free["n_params"]) < 2:
        return None
    return fit_power_law(free["time_budget_s"], free["n_params"])


def _plain(name: str) -> str:
    """A name without meaning to the figures' mathematics."""
    return name.replace("$", r"\$")


def _colours(curves: list[Curve]) -> list[str]:
    return [PALETTE[at % len(PALETTE)] for at in range(len(curves))]


def _time_axis(axes: Axes, times: Any) -> None:
    axes.set_xscale("log")
    ticks = [tick for tick in TICKS if min(times) / 1.5 <= tick <= max(times) * 1.5]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_budget(x)))
    axes.xaxis.set_minor_locator(NullLocator())


def _count_axis(axes: Axes) -> None:
    """At least three labelled ticks: 1, 2 and 5 of each power of ten, or finer on a short axis."""
    low, high = axes.get_ylim()
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8)):
        ticks = [step * 10.0**e for e in exponents for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: short_count(y)))
    axes.yaxis.set_minor_locator(NullLocator())

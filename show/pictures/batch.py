"""The pictures of a batch: the best model against time, and loss against money."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from ...objectives.scaling import PowerLaw, fit_power_law
from ...search.batch.curves import CURVE, curves_of, is_known, n_unlike
from ...search.question import Question
from .picture import Axis, Band, Layer, Line, Picture, Sheet
from .style import FAINT, SOFT, colours, dashes
from .ticks import Span, Ticks, count_ticks, log_span_of, number_ticks, time_ticks, width_ticks

# Column -> what it is called, and its ticks.
PANELS: dict[str, tuple[str, Callable[[Span], Ticks]]] = {
    "n_params": ("parameters N", count_ticks),
    "n_tokens": ("tokens D", count_ticks),
    "tokens_per_param": ("tokens per parameter", number_ticks),
    "d_model": ("width, d_model", width_ticks),
    "n_layers": ("depth, n_layers", number_ticks),
    "predicted_loss": ("predicted loss, nats per token", number_ticks),
}
# Those with a 95% range over the draws, and the beginning of its columns' names.
RANGED = {name: name for name in ("n_params", "n_tokens", "d_model", "n_layers")}
RANGED |= {"predicted_loss": "loss"}
MOST_SHEETS = 12
# Ranges and fits of more curves than this would hide each other.
MOST_RANGES = 4
# What the curves of one family share; each line is of a machine.
FAMILY = [name for name in CURVE if name not in ("device", "attention")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """The winners of one machine along the time budget, and how their line looks."""

    question: Question
    rows: pd.DataFrame
    colour: str
    dash: str

    def family(self, names: Sequence[str]) -> tuple[str, ...]:
        """What it shares with the curves that it is drawn among."""
        return tuple(map(str, self.rows[[*names]].iloc[0]))

    @property
    def times(self) -> list[float]:
        """The time budgets, s."""
        return self.rows["time_budget_s"].tolist()

    @property
    def fit(self) -> PowerLaw | None:
        """N against time, of the winners that memory does not limit."""
        free = self.rows[self.rows["free"]]
        if n_unlike(free["n_params"]) < 2:
            return None
        return fit_power_law(free["time_budget_s"], free["n_params"])

    def line(self, x: str, y: str, name: str, *, of: int) -> Line:
        """One column of the winners against another, thinner among many."""
        return Line(
            x=self.rows[x].tolist(),
            y=self.rows[y].tolist(),
            name=name,
            colour=self.colour,
            dash=self.dash,
            width=1.4 if of <= MOST_RANGES else 1.1,
            dot=6 if of <= MOST_RANGES else 4,
            square=self.question.objective.fused,
            hollow=(~self.rows["free"].to_numpy(bool)).tolist(),
        )


def batch_sheets(questions: list[Question], table: pd.DataFrame) -> dict[str, Sheet]:
    """The sheets of a batch by the name of their file.

    `scaling-LAW` is of each family of curves, those that differ in machine only, numbered where
    several are of one law, up to `MOST_SHEETS`; `money` where a curve has its costs.
    """
    curves = _curves(questions, table)
    names = _shared(curves)
    families: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        families.setdefault(curve.family(names), []).append(curve)
    titles = dict(zip(families, _titles(names, list(families)), strict=True))
    sheets: dict[str, Sheet] = {}
    for family, members in list(families.items())[:MOST_SHEETS]:
        several = sum(other[0] == family[0] for other in families) > 1
        law = re.sub(r"[^\w.-]+", "-", family[0]) + (f"-{len(sheets) + 1}" if several else "")
        sheets[f"scaling-{law}"] = scaling(members, titles[family])
    priced = {
        titles[family]: [curve for curve in members if is_known(curve.rows["cost_usd"])]
        for family, members in families.items()
    }
    if priced := {title: members for title, members in priced.items() if members}:
        sheets["money"] = money(priced)
    return sheets


def _curves(questions: list[Question], table: pd.DataFrame) -> list[Curve]:
    """Every curve: a colour a device, a line style a number of chips, the same on every sheet."""
    found = list(curves_of(questions, table))
    objectives = [question.objective for question, _ in found]
    by_device = colours([objective.device.name for objective in objectives])
    by_chips = dashes([objective.n_chips for objective in objectives])
    return [
        Curve(
            question=question,
            rows=rows,
            colour=by_device[question.objective.device.name],
            dash=by_chips[question.objective.n_chips],
        )
        for question, rows in found
    ]


def _shared(curves: Sequence[Curve]) -> list[str]:
    """`FAMILY`, but where each machine has one space, its own by default, machines are compared."""
    names = [name for name in FAMILY if name != "space"]
    once = {(curve.question.objective.machine, *curve.family(names)) for curve in curves}
    return names if len(once) == len(curves) else FAMILY


def _titles(names: Sequence[str], families: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The law of each family, and whatever else tells it from the others."""
    for family in families:
        differing = [
            value if name == "settings" else f"{name.replace('_', ' ')} {value}"
            for name, value, values in zip(names, family, zip(*families, strict=True), strict=True)
            if name != "law" and value and (len(set(values)) > 1 or name == "settings")
        ]
        yield ", ".join([family[0], *differing])


def scaling(curves: Sequence[Curve], title: str) -> Sheet:
    """Each quantity of the best model against the time budget, a line a machine."""
    time_span = log_span_of([time for curve in curves for time in curve.times])
    time_axis = Axis(span=time_span, log=True, ticks=time_ticks(time_span))
    pictures = []
    for name, (called, ticks) in PANELS.items():
        bands = [band for curve in curves for band in _bands(curve, name)]
        shown = bands if len(curves) <= MOST_RANGES else []
        values = [value for curve in curves for value in curve.rows[name]]
        values += [value for band in shown for value in (*band.low, *band.high)]
        span = log_span_of(values)
        lines = [
            curve.line("time_budget_s", name, _label(curve), of=len(curves)) for curve in curves
        ]
        fits = _fits(curves) if name == "n_params" and len(curves) <= MOST_RANGES else []
        pictures.append(
            Picture(
                title=called,
                x=time_axis,
                y=Axis(span=span, log=True, ticks=ticks(span)),
                layers=[*shown, *fits, *lines, *_keys(curves, has_bands=bool(shown))],
            )
        )
    return Sheet(
        title=f"The best model for a time budget, by {title}", pictures=pictures, columns=3
    )


def money(families: dict[str, list[Curve]]) -> Sheet:
    """Predicted loss against US dollars, a line a machine, a picture a family."""
    curves = [curve for members in families.values() for curve in members]
    dollars = log_span_of([value for curve in curves for value in curve.rows["cost_usd"]])
    losses = log_span_of([value for curve in curves for value in curve.rows["predicted_loss"]])
    x_axis = Axis(title="US dollars", span=dollars, log=True, ticks=number_ticks(dollars, "$"))
    y_axis = Axis(
        title="predicted loss, nats per token", span=losses, log=True, ticks=number_ticks(losses)
    )
    pictures = [
        Picture(
            title=f"What a loss costs, by {title}",
            x=x_axis,
            y=y_axis,
            layers=[
                *(
                    curve.line(
                        "cost_usd", "predicted_loss", curve.question.objective.machine,
                        of=len(members),
                    )
                    for curve in members
                ),
                *_keys(members),
            ],
        )
        for title, members in list(families.items())[:MOST_SHEETS]
    ]  # fmt: skip
    return Sheet(pictures=pictures, columns=min(len(pictures), 2))


def _bands(curve: Curve, name: str) -> Iterator[Band]:
    """The range of the draws' winners, where it is known."""
    if name in RANGED and is_known(curve.rows[f"{RANGED[name]}_low"]):
        low, high = (curve.rows[f"{RANGED[name]}_{end}"].tolist() for end in ("low", "high"))
        yield Band(x=curve.times, low=low, high=high, colour=curve.colour)


def _fits(curves: Sequence[Curve]) -> list[Layer]:
    """The fitted power law of each curve that has one, over its whole length."""
    fitted = [(curve, curve.fit, np.array(curve.times)[[0, -1]]) for curve in curves]
    return [
        Line(
            x=ends.tolist(), y=(fit.scale * ends**fit.exponent).tolist(), colour=curve.colour,
            width=0.8, opacity=0.6,
        )
        for curve, fit, ends in fitted
        if fit
    ]  # fmt: skip


def _keys(curves: Sequence[Curve], *, has_bands: bool = False) -> Iterator[Layer]:
    """What else the legend explains."""
    if not all(np.all(curve.rows["free"]) for curve in curves):
        yield Line(
            x=(), y=(), name="memory is the limit", colour=SOFT, width=0, dot=6, hollow=[True]
        )
    if has_bands:
        yield Band(x=(), low=(), high=(), name="95% of the draws", colour=FAINT, opacity=0.4)


def _label(curve: Curve) -> str:
    """A machine, and the exponent of N where there is one."""
    name, fit = curve.question.objective.machine, curve.fit
    return f"{name}, N ~ T^{fit.exponent:.2f}" if fit else name

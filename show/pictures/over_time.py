"""Loss against training time: of one budget's winner, and of the best of each time."""

from __future__ import annotations

from collections.abc import Sequence

from ...objectives.uncertainty import COVERAGE, Standing
from ...search.candidate import Candidate
from ...search.over_time import OverTime
from ..words import describe, shape_of, time_text
from .picture import Axis, Intervals, Label, Line, Picture
from .style import ACCENT, SECOND, SOFT
from .ticks import log_span_of, span_of, time_ticks

Point = tuple[float, Candidate]


def loss_over_time(curves: OverTime, standing: Standing | None, machine: str) -> Picture:
    """Loss against time: of one budget's winner, with its interval, and of the best of each."""
    asked_s = curves.budgets_s[curves.asked]
    winner, best = _feasible(curves.budgets_s, curves.winner), _feasible(
        curves.budgets_s, curves.best
    )  # fmt: skip
    losses = [candidate.loss for _, candidate in (*winner, *best)]
    interval = []
    if standing:
        losses += [standing.loss_low, standing.loss_high]
        interval = [_interval(asked_s, standing)]
    time_span, loss_span = log_span_of(curves.budgets_s, 0.1), span_of(losses, 0.12)
    name = f"{shape_of(curves.winner[curves.asked])}, the best in {time_text(asked_s)}"
    shown = curves.budgets_s[curves.asked % 2 :: 2]
    return Picture(
        title=f"The best shape of each time on {machine}",
        x=Axis(title="training time", span=time_span, log=True, ticks=time_ticks(time_span)),
        y=Axis(title="predicted loss, nats per token", span=loss_span),
        layers=[
            Line(x=[asked_s, asked_s], y=loss_span, colour=SOFT, dash="dot", width=1),
            *interval,
            _losses(winner, name, SECOND),
            _losses(best, "the best of each time", ACCENT),
            *(
                Label(
                    x=budget_s, y=candidate.loss, text=shape_of(candidate), side="below left",
                    colour=ACCENT,
                )
                for budget_s, candidate in best
                if budget_s in shown
            ),
        ],
    )  # fmt: skip


def _feasible(budgets_s: Sequence[float], candidates: Sequence[Candidate]) -> list[Point]:
    both = zip(budgets_s, candidates, strict=True)
    return [(budget_s, candidate) for budget_s, candidate in both if candidate.prediction.feasible]


def _losses(points: Sequence[Point], name: str, colour: str) -> Line:
    return Line(
        x=[budget_s for budget_s, _ in points],
        y=[candidate.loss for _, candidate in points],
        name=name,
        colour=colour,
        width=2,
        dot=6,
        hover=[
            (f"{name}, after {time_text(budget_s)}", *describe(candidate))
            for budget_s, candidate in points
        ],
    )


def _interval(budget_s: float, standing: Standing) -> Intervals:
    low, high = standing.loss_low, standing.loss_high
    told = f"{COVERAGE:.0%} of the draws put its loss between {low:.3f} and {high:.3f}"
    return Intervals(
        x=[budget_s],
        low=[low],
        high=[high],
        colour=SECOND,
        width=7,
        opacity=0.3,
        name=f"its {COVERAGE:.0%} interval",
        hover=[(told, "nats per token")],
    )

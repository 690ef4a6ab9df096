"""What figures of a search draw: the best loss of each budget, and lines of equal step time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...objectives.loss_at_time import LossAtTime
from ...search.candidate import Candidate
from ...search.explore.polish import polish
from ...space.architecture import Architecture
from ...space.search_space import SearchSpace

# Budgets of the time figure, as shares of the one that was asked for.
SHARES = 2.0 ** np.arange(-6, 4)
# Step times that have a line, ms.
STEP_TIME_LEVELS = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OverTime:
    """Candidates at each of several budgets: the winner of one, and the best of each.

    Attributes:
        budgets_s: ascending.
        asked: which of them was asked for.
        winner: the one architecture at every budget.
        best: of each budget, found by moving the last one's best to the best near it.
    """

    budgets_s: list[float]
    asked: int
    winner: list[Candidate]
    best: list[Candidate]


def over_time(winner: Candidate, space: SearchSpace, objective: LossAtTime) -> OverTime:
    """The winner of a budget, and the best of each, at `SHARES` of that budget."""
    budgets_s = [float(share * objective.time_budget_s) for share in SHARES]
    of_winner, of_best = [], []
    start = winner
    for budget_s in budgets_s:
        at_budget = dataclasses.replace(objective, time_budget_s=budget_s)
        of_winner.append(Candidate.of(winner.arch, at_budget))
        start = polish(Candidate.of(start.arch, at_budget), space, at_budget)
        of_best.append(start)
    return OverTime(
        budgets_s=budgets_s,
        asked=budgets_s.index(objective.time_budget_s),
        winner=of_winner,
        best=of_best,
    )


def step_time_mesh(
    d_model: int, n_layers: int, like: Architecture, objective: LossAtTime
) -> tuple[Any, Any, Any]:
    """Widths, depths and step times in ms of models with d_ff = 4 d_model, heads as wide as one's.

    Args:
        d_model: the widest.
        n_layers: the deepest.
        like: gives the width of a head, and the other fields.
        objective: gives the step time.
    """
    # Whole heads, and two of each, which lines need.
    head = like.d_head
    widths = np.arange(head, max(d_model, head + 1) + head, float(head))
    depths = np.arange(1.0, max(n_layers, 2) + 1)[:, None]
    heads = widths / head
    mesh = dataclasses.replace(
        like,
        d_model=widths,
        n_layers=depths,
        n_heads=heads,
        n_kv_heads=heads,
        d_ff=4 * widths,
    )
    times_ms = 1e3 * objective.step_time_s(mesh)
    return np.broadcast_arrays(widths, depths, times_ms)  # type: ignore[return-value]

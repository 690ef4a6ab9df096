"""How an answer changes with the time budget: the winner in other times, and their own bests."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..objectives.loss_at_time import LossAtTime
from ..space.search_space import SearchSpace
from .candidate import Candidate
from .explore.polish import polish

# Budgets, as shares of the one that was asked for.
SHARES = 2.0 ** np.arange(-6, 4)


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

"""What loss costs: the models that no other tried beats in loss and in training time, or memory."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from .explore.pareto import explore_pareto
from .question import Question

Against = Literal["time", "memory"]
# Of a front, the cost that is traded against the loss.
COST = {"time": "time_budget_s", "memory": "memory_bytes"}
# A front against time reaches down to this share of the budget.
LEAST_SHARE = 1 / 64


def front(question: Question, *, against: Against, n_trials: int = 2000) -> pd.DataFrame:
    """The Pareto front of predicted loss and one cost, as far as NSGA-II finds it.

    Args:
        question: where to look; the objective's budget is the longest time.
        against: `time` (the training time, down to 1/64 of the budget, is searched with the
            architecture) or `memory` (bytes of training).
        n_trials: architectures to evaluate.

    Returns:
        Candidates with their `time_budget_s`, ascending in the cost, none beaten in both.

    Raises:
        ValueError: `against` is unknown, or nothing evaluated is feasible.
    """
    if against not in COST:
        raise ValueError(f"a front is against time or memory, but got {against!r}")
    least_share = LEAST_SHARE if against == "time" else 1.0
    if n_trials < 1:
        raise ValueError(f"`trials` must be at least 1, but got {n_trials}")
    unbeaten = explore_pareto(question, COST[against], n_trials, least_share=least_share)
    if not unbeaten:
        raise ValueError(f"none of {n_trials} architectures fits {question.objective.machine}")
    return pd.DataFrame(unbeaten).sort_values(COST[against]).drop_duplicates(ignore_index=True)

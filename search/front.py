"""What loss costs: the models that none beats in loss and in training time, money or memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pandas as pd

from ..objectives.flags import check_loss
from .certify.fronts import LEAST_SHARE, N_LIMITS, Limit, best_at_limits, unbeaten
from .experts import refuse_sparse
from .explore.pareto import explore_pareto
from .question import Question

Against = Literal["time", "memory", "money"]
# Of a front, the cost that is traded against the loss, and what limits it.
COST = {"time": "time_budget_s", "memory": "memory_bytes", "money": "cost_usd"}
LIMIT: dict[str, Limit] = {
    "time": "time_budget_s", "memory": "memory_bytes", "money": "time_budget_s"
}  # fmt: skip


def front(
    question: Question,
    *,
    against: Against,
    certify: bool = True,
    n_trials: int = 2000,
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> pd.DataFrame:
    """The Pareto front of predicted loss and one cost.

    Args:
        question: where to look; the objective's budget is the longest time.
        against: `time`, or the `money` that it costs, down to 1/64 of the budget; or `memory`,
            down to 1/64 of the device's.
        certify: whether to prove the lowest loss at each of `N_LIMITS` limits of the cost; else
            NSGA-II explores.
        n_trials: architectures that NSGA-II evaluates.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Returns:
        Candidates with their `time_budget_s` and `cost_usd`, ascending in the cost, none beaten in
        both.

    Raises:
        ValueError: `against` is unknown, money has no price, nothing is feasible, or the space is
            too large to be certified.
    """
    objective = question.objective
    refuse_sparse(question, "a front")
    if against not in COST:
        raise ValueError(f"a front is against time, memory or money, but got {against!r}")
    if against == "money" and question.cost_usd is None:
        raise ValueError(
            f"a front against money needs a price, but {objective.device.name} has none; give "
            "--price, US dollars for an hour of one device"
        )
    if n_trials < 1:
        raise ValueError(f"`trials` must be at least 1, but got {n_trials}")
    rows: list[dict[str, Any]]
    if certify:
        told: Callable[[int], None] = lambda n: on_progress("certify", n, N_LIMITS)  # noqa: E731
        found = best_at_limits(question.space, objective, LIMIT[against], told)
        rows = [{"time_budget_s": at.time_budget_s} | one.as_dict() for at, one in found]
        tried = f"{question.space.n_architectures:,} architectures in the space"
    else:
        least_share = 1.0 if against == "memory" else LEAST_SHARE
        rows = explore_pareto(question, LIMIT[against], n_trials, least_share=least_share)
        tried = f"{n_trials:,} architectures tried"
    if not rows:
        raise ValueError(f"none of the {tried} fits {objective.machine}")
    for row in rows:
        check_loss(objective.law.name, row["predicted_loss"])
        row["cost_usd"] = objective.device.cost_usd(objective.n_chips, row["time_budget_s"])
    frame = pd.DataFrame(rows)
    kept = unbeaten(frame[COST[against]].to_numpy(), frame["predicted_loss"].to_numpy())
    return frame.iloc[kept].reset_index(drop=True)

"""Loss against training time or memory: Optuna's NSGA-II, and the exact memory front."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, FloatDistribution

from ..objectives.loss_at_time import LossAtTime
from ..space.search_space import SearchSpace
from .candidate import Candidate
from .certify.scan import evaluate, feasible_losses
from .explore.study import quiet_optuna

Against = Literal["time", "memory"]
# A front against time reaches down to this share of the budget.
LEAST_SHARE = 1 / 64


def explore_front(
    space: SearchSpace,
    objective: LossAtTime,
    *,
    against: Against,
    n_trials: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """The Pareto front of predicted loss and one cost.

    Args:
        space: where to look.
        objective: gives the loss; its budget is the longest time.
        against: `time` (the training time, down to 1/64 of the budget, is searched with the
            architecture) or `memory` (bytes of training).
        n_trials: architectures to evaluate.
        seed: of NSGA-II.

    Returns:
        Candidates with their `time_budget_s`, ascending in the cost, none beaten in both.

    Raises:
        ValueError: `against` is unknown, or nothing evaluated is feasible.
    """
    if against not in ("time", "memory"):
        raise ValueError(f"a front is against time or memory, but got {against!r}")
    cube: dict[str, BaseDistribution] = {
        name: FloatDistribution(0, 1) for name in space.free_coordinates
    }
    if against == "time":
        cube["time_share"] = FloatDistribution(LEAST_SHARE, 1, log=True)
    with quiet_optuna():
        study = optuna.create_study(
            directions=["minimize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=seed)
        )
        rows = []
        for _ in range(n_trials):
            trial = study.ask(cube)
            share = trial.params.get("time_share", 1.0)
            at_share = dataclasses.replace(objective, time_budget_s=share * objective.time_budget_s)
            candidate = Candidate.of(space.decode(trial.params), at_share)
            trial.set_constraint("feasible", 0.0 if candidate.prediction.feasible else 1.0)
            cost = {"time": at_share.time_budget_s, "memory": candidate.prediction.memory_bytes}
            study.tell(trial, [candidate.loss, cost[against]])
            rows.append({"time_budget_s": at_share.time_budget_s} | candidate.as_dict())
        # Without a feasible trial, Optuna's front is the least infeasible.
        front = [trial for trial in study.best_trials if not any(_violations(trial))]
    if not front:
        raise ValueError(f"none of {n_trials} architectures fits {objective.machine}")
    cost_column = {"time": "time_budget_s", "memory": "memory_bytes"}[against]
    frame = pd.DataFrame([rows[trial.number] for trial in front])
    return frame.sort_values(cost_column).drop_duplicates(ignore_index=True)


def _violations(trial: optuna.trial.FrozenTrial) -> list[bool]:
    return [value > 0 for value in trial.constraints.values()]


def memory_front(space: SearchSpace, objective: LossAtTime) -> list[Candidate]:
    """By enumeration: the candidates that none has less memory than at as low a loss, by memory."""
    front: list[Candidate] = []
    for mesh, predicted, _ in evaluate(space.blocks(), objective):
        if predicted is None:
            continue
        losses = feasible_losses(predicted)
        memory = np.broadcast_to(predicted.memory_bytes, losses.shape)
        front += [
            Candidate.at(mesh, predicted, np.unravel_index(i, losses.shape))
            for i in unbeaten(memory.ravel(), losses.ravel())
        ]
        costs, losses = (
            np.array([(c.prediction.memory_bytes, c.loss) for c in front]).reshape(-1, 2).T
        )
        front = [front[i] for i in unbeaten(costs, losses)]
    return front


def unbeaten(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Indices of the points that no other point beats in both, ascending in `first`.

    Points whose second value is infinite are left out; of equal points one stays.
    """
    order = np.lexsort((second, first))
    lowest = np.minimum.accumulate(np.concatenate([[np.inf], second[order][:-1]]))
    return order[second[order] < lowest]

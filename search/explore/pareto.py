"""Optuna's NSGA-II on two goals at once: predicted loss and one cost."""

from __future__ import annotations

import dataclasses
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from ..candidate import Candidate
from ..question import Question
from .study import quiet_optuna


def explore_pareto(
    question: Question, cost: str, n_trials: int, *, least_share: float = 1.0
) -> list[dict[str, Any]]:
    """Of `n_trials` models, each as a row, the feasible that none beats in loss and cost.

    Args:
        question: where to look, and what to minimise.
        cost: the other thing to minimise, a column of the rows.
        n_trials: models to evaluate.
        least_share: of the time budget that a model may take; below 1, the share is searched with
            the architecture.
    """
    space, objective = question.space, question.objective
    cube: dict[str, BaseDistribution] = {
        name: FloatDistribution(0, 1) for name in space.free_coordinates
    }
    if least_share < 1:
        cube["time_share"] = FloatDistribution(least_share, 1, log=True)
    sampler = optuna.samplers.NSGAIISampler(seed=question.seed)
    rows = []
    with quiet_optuna():
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        for _ in range(n_trials):
            trial = study.ask(cube)
            time_budget_s = trial.params.get("time_share", 1.0) * objective.time_budget_s
            at_share = dataclasses.replace(objective, time_budget_s=time_budget_s)
            candidate = Candidate.of(space.decode(trial.params), at_share)
            rows.append({"time_budget_s": time_budget_s} | candidate.as_dict())
            trial.set_constraint("feasible", 0.0 if candidate.prediction.feasible else 1.0)
            study.tell(trial, [candidate.loss, rows[-1][cost]])
        # Without a feasible trial, Optuna's front is the least infeasible.
        return [rows[trial.number] for trial in study.best_trials if _is_feasible(trial)]


def _is_feasible(trial: optuna.trial.FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())

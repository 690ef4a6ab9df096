"""How far are laws from the runs of best_config.py, and do their intervals hold them?

Command: python experiments/best_config/laws.py
Wall time: 10 s; reads BUDGET/runs.csv of best_config.py.
Expected: with copying in the law the mean error at 8 minutes falls from 7 to 2%.

Writes laws.csv and, of runs long enough that some copy and others do not, copied.csv.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd

from anybudget.experiments.best_config.best_config import FOLDER, intervals_hold
from anybudget.objectives.budget import parse_budget
from anybudget.objectives.flags import FEW_STEPS
from anybudget.objectives.law.copying import able
from anybudget.objectives.loss_at_time import LossAtTime
from anybudget.presets.known import known
from anybudget.presets.laws import load_law
from anybudget.space.architecture import Architecture
from anybudget.validation.confirm.train_all import RUNS_FILE
from anybudget.validation.runs import Run, read_rows

BUDGETS, LAWS, DEVICE = ("1m", "2m", "4m", "8m"), ("smooth", "python-source"), "cpu-core"
# Tokens between which some runs have copied and others not, and how far below the smooth law those
# are that have.
BETWEEN_TOKENS, FAR_BELOW = (2.5e6, 4.8e6), 0.025


def judge_laws() -> None:
    """How far laws are from the losses of all runs of a budget, given the tokens that these had.

    And, without these, whether the intervals that the law's and the device's draws give hold them.
    """
    rows = []
    for budget in BUDGETS:
        runs = [
            run for run in read_rows(FOLDER / budget / RUNS_FILE, Run) if run.n_steps >= FEW_STEPS
        ]
        measured = np.array([run.measured_loss for run in runs], dtype=float)
        losses: dict[Architecture, list[float]] = {}
        for run in runs:
            losses.setdefault(run.architecture, []).append(run.measured_loss or math.nan)
        for name in LAWS:
            path = FOLDER / f"{name}.toml"
            where = str(path) if path.exists() else name
            rests_on = known(DEVICE, where)
            law = rests_on.law.law
            objective = LossAtTime(
                device=rests_on.device.device, law=law, time_budget_s=parse_budget(budget)
            )
            held = intervals_hold(objective, losses, rests_on.draws(objective))
            error = (
                np.array([law.loss(run.n_params, run.n_tokens, vars(run)) for run in runs])
                / measured
                - 1
            )
            rows.append(
                {
                    "budget": budget,
                    "law": name,
                    "n_runs": len(runs),
                    "mape": np.abs(error).mean(),
                    "bias": error.mean(),
                    "largest": np.abs(error).max(),
                    "inside_95": held and held[0],
                    "width_95_nats": held and held[1],
                }
            )
    table = pd.DataFrame(rows)
    table.to_csv(FOLDER / "laws.csv", index=False, float_format="%.4g")
    print(table.to_string(index=False))


def count_copied() -> None:
    """Of runs long enough that some copy and others do not: how many do, by depth."""
    paths = [Path(__file__).parents[1] / "loss_law" / "python.csv"]
    paths += [FOLDER / budget / RUNS_FILE for budget in BUDGETS]
    law = load_law(str(FOLDER / "smooth.toml"))
    rows = []
    for run in (run for path in paths for run in read_rows(path, Run)):
        between = BETWEEN_TOKENS[0] <= run.n_tokens <= BETWEEN_TOKENS[1]
        if between and able(vars(run)) and run.measured_loss:
            smooth = law.loss(run.n_params, run.n_tokens, vars(run))
            below = 1 - run.measured_loss / smooth
            rows.append({"n_layers": run.architecture.n_layers, "copied": below >= FAR_BELOW})
    table = pd.DataFrame(rows).groupby("n_layers").copied.agg(["sum", "count"])
    table.to_csv(FOLDER / "copied.csv")
    print(table.to_string())


if __name__ == "__main__":
    judge_laws()
    count_copied()

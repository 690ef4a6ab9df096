"""How the winners of a batch grow with the time budget, one curve a device and law."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ...objectives.scaling import fit_power_law, theoretical_exponents
from ..question import Question

# What makes a curve; budgets run along it.
CURVE = (
    "device", "law", "space", "settings", "attention", "remat_asked", "data_limit_tokens",
    "critical_batch", "extrapolate", "seed",
)  # fmt: skip
QUANTITIES = ("n_params", "n_tokens", "tokens_per_param", "d_model", "n_layers", "loss_above_E")
# A winner that needs more of the memory would be larger if there were more, unless its batch can be
# cut into more passes.
MOST_MEMORY = 0.9


def curves_of(
    questions: list[Question], table: pd.DataFrame
) -> Iterator[tuple[Question, pd.DataFrame]]:
    """Each curve: its first question, and the certified rows along it by budget.

    The rows have two columns more: `loss_above_E`, and `free` where memory was no limit.
    """
    law_E = [question.objective.law.floor for question in questions]  # noqa: N806
    rows = table.assign(
        loss_above_E=table["predicted_loss"] - law_E,
        free=[
            row["status"] == "certified"
            and (row["memory_share"] <= MOST_MEMORY or row["micro_batch_size"] > 1)
            and row["remat"] == "none"
            for row in table.to_dict(orient="records")
        ],
        place=range(len(table)),
    )
    found = pd.DataFrame(rows[rows["status"] == "certified"])
    for _, curve in found.groupby(list(CURVE), sort=False, dropna=False):
        if n_unlike(curve["time_budget_s"]) > 1:
            yield questions[min(curve["place"])], curve.sort_values(by="time_budget_s")


def n_unlike(column: Any) -> int:
    """Number of unlike values that a column has."""
    return len(pd.unique(column.dropna()))


def is_known(column: Any) -> bool:
    """Whether a column has a value in every row."""
    return bool(np.all(column.notna()))


def fit_curves(questions: list[Question], table: pd.DataFrame) -> pd.DataFrame:
    """Exponents in time of the winners' quantities, beside those of theory.

    Only winners that memory does not limit are fitted; a curve with fewer than two has none.

    Args:
        questions: of the batch.
        table: of `run_batch`.

    Returns:
        A row a curve and quantity: what makes the curve, `quantity` (`n_params` as the law counts
        them), `exponent`, `standard_error`, `theory` at the measured `gamma` (the exponent of a
        token's time in parameters; empty where there is none), `gamma`, `at_1h` (the fitted value
        at an hour) and `n_budgets`.
    """
    rows = [
        {name: curve[name].iloc[0] for name in CURVE} | fitted
        for question, curve in curves_of(questions, table)
        for fitted in _exponents(question, pd.DataFrame(curve[curve["free"]]))
    ]
    columns = [
        *CURVE, "quantity", "exponent", "standard_error", "theory", "gamma", "at_1h", "n_budgets"
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _exponents(question: Question, curve: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The fits of one curve; none where too few budgets, or too few unlike models, are left."""
    law = question.objective.law
    counted = law.n_column
    if n_unlike(curve["time_budget_s"]) < 2 or n_unlike(curve[counted]) < 2:
        return
    # Of a token's time, not of a step's: batches grow with the budget too.
    s_per_token = curve["step_time_s"] * curve["n_steps"] / curve["n_tokens"]
    gamma = fit_power_law(curve[counted], s_per_token).exponent
    theory = theoretical_exponents(law, gamma)
    for quantity in QUANTITIES:
        values = curve[counted if quantity == "n_params" else quantity].to_numpy(dtype=np.float64)
        fit = fit_power_law(curve["time_budget_s"], values)
        yield {
            "quantity": quantity,
            "exponent": fit.exponent,
            "standard_error": fit.standard_error,
            "theory": theory.get(quantity),
            "gamma": gamma,
            "at_1h": fit.scale * 3600**fit.exponent,
            "n_budgets": len(curve),
        }

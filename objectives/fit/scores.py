"""How well a loss law foretells runs that it has not seen, and what its residuals still say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

from ...space.architecture import FIELDS
from ..law.loss_law import N_COLUMNS, Convention, LossLaw, law_loss
from .law import LawFit, fit_varpro, law_data
from .prior import Anchored, anchor, between_corpora
from .runs import LawRuns, law_runs
from .solver import log_residuals, minimise

# What a loss may hang on beside what the law counts; residuals are tested against each.
SUSPECTS = (*FIELDS, "aspect_ratio", "n_params", "n_tokens", "n_steps", "learning_rate")
# The chance of one false alarm among all those tests.
SIGNIFICANCE = 0.01
# The share of rows, the largest, that an extrapolation is judged on.
JUDGED_SHARE = 1 / 3
# Architectures that are left out in turn; of more, a law of their own tells better.
MOST_HELD_OUT = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """Predictions of rows that the fit had not seen.

    Attributes:
        n_judged: how many.
        r2: share of the variance of the loss that is foretold; below 0 is worse than the mean.
        mape: mean absolute relative error.
        bias: mean relative error, positive where the law promises too high a loss.
    """

    n_judged: int
    r2: float
    mape: float
    bias: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trend:
    """How the residuals follow a column of the runs.

    Attributes:
        column: its name.
        kind: `rises` with the column, or is a `bowl` around its median.
        rho: Spearman's rank correlation of the residual with the column, or with its distance in
            ratio from the median.
        p: the chance of such a rho by luck alone, times the number of tests made (Bonferroni).
    """

    column: str
    kind: Literal["rises", "bowl"]
    rho: float
    p: float


def leave_shape_out(runs: LawRuns, fit: LawFit) -> Score:
    """Each architecture's rows predicted by a law fitted to all others."""
    return _score(shape_out_residuals(runs, fit), runs.measured_loss)


def extrapolate(runs: LawRuns, fit: LawFit, by: Literal["n_params", "n_tokens"]) -> Score | None:
    """The rows largest in `by` predicted by a law fitted to the smaller; None: too few of those."""
    largest = largest_rows(runs, by)
    seen = {
        "n_params": runs.n_params[~largest],
        "n_tokens": runs.n_tokens[~largest],
        "measured_loss": runs.measured_loss[~largest],
        "run": runs.run[~largest],
    }
    try:
        law_runs(seen)
    except ValueError:
        return None
    residuals = residuals_left_out(runs, fit, largest[None])[0]
    return _score(residuals[largest], runs.measured_loss[largest])


def residual_trends(runs: LawRuns, fit: LawFit) -> list[Trend]:
    """The residuals against each of `SUSPECTS` that varies, the likeliest trend first.

    Runs are taken as independent, rows that share one are not.
    """
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    residuals = -log_residuals(fit.theta[None], data)[0]
    columns = runs.columns | {"n_params": runs.n_params, "n_tokens": runs.n_tokens}
    if {"d_model", "n_layers"} <= set(columns):
        columns["aspect_ratio"] = columns["d_model"] / columns["n_layers"]
    tests: list[tuple[str, Literal["rises", "bowl"], np.ndarray]] = []
    for name in SUSPECTS:
        column = columns.get(name, np.zeros(1))
        n_values = len(np.unique(column))
        if n_values > 1:
            tests.append((name, "rises", column))
        if n_values > 2:
            tests.append((name, "bowl", np.abs(np.log(column / np.median(column)))))
    found = []
    for name, kind, against in tests:
        result: Any = stats.spearmanr(residuals, against)
        rho = float(result.statistic)
        p = min(1.0, len(tests) * _chance(rho, runs.n_runs))
        found.append(Trend(column=name, kind=kind, rho=rho, p=p))
    return sorted(found, key=lambda trend: trend.p)


def _chance(rho: float, n_runs: int) -> float:
    """Of a rank correlation at least as large by luck alone, among so many runs."""
    freedom = max(n_runs - 2, 1)
    t = abs(rho) * math.sqrt(freedom / max(1 - rho**2, 1e-12))
    return 2 * float(stats.t.sf(t, freedom))


def trend_warnings(trends: list[Trend]) -> tuple[str, ...]:
    """A sentence on each column that still explains the residuals."""
    how = {"rises": "rises with", "bowl": "grows away from the middle of"}
    falls = {"rises": "falls with", "bowl": "shrinks away from the middle of"}
    return tuple(
        f"the law leaves something out: loss beyond it {(how if t.rho > 0 else falls)[t.kind]} "
        f"{t.column} (rank correlation {t.rho:+.2f}, p = {t.p:.1g})"
        for t in trends
        if t.p < SIGNIFICANCE
    )


def by_shape(runs: LawRuns, values: np.ndarray) -> np.ndarray:
    """Mean of each shape's rows, (shapes,)."""
    return np.bincount(runs.shape, values) / np.bincount(runs.shape)


def compare_conventions(
    table: Mapping[str, Any], *, delta: float | None = None
) -> dict[Convention, tuple[LawFit, Score]]:
    """The law with N counted either way, where the table has both, and its held-out score."""
    found = {}
    for convention, column in N_COLUMNS.items():
        if column in table:
            runs = law_runs(table, n_convention=convention)
            fit = fit_varpro(runs, delta=delta)
            found[convention] = (fit, leave_shape_out(runs, fit))
    return found


def shape_out_residuals(runs: LawRuns, fit: LawFit) -> np.ndarray:
    """Log of predicted over measured loss of each row, its architecture not in the fit, (R,)."""
    shape = runs.shape
    folds = shape == np.arange(shape.max() + 1)[:, None]
    return residuals_left_out(runs, fit, folds)[shape, np.arange(len(shape))]


def residuals_left_out(runs: LawRuns, fit: LawFit, folds: np.ndarray) -> np.ndarray:
    """Log residuals of all rows by the fit without each fold's, (folds, R)."""
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    starts = np.repeat(fit.theta[None], len(folds), axis=0)
    theta = minimise(starts, data, (~folds).astype(float), delta=fit.delta, prior=fit.prior).theta
    # A law that foretells a negative loss is wrong by all of it.
    return np.nan_to_num(log_residuals(theta, data), nan=-1.0)


def largest_rows(runs: LawRuns, by: str) -> np.ndarray:
    """Which rows an extrapolation is judged on, (R,)."""
    values = getattr(runs, by)
    return values > np.quantile(values, 1 - JUDGED_SHARE)


def _score(log_ratio: np.ndarray, measured: np.ndarray) -> Score:
    error = np.expm1(log_ratio)
    squares = ((error * measured) ** 2).sum()
    return Score(
        n_judged=len(measured),
        r2=float(1 - squares / ((measured - measured.mean()) ** 2).sum()),
        mape=float(np.abs(error).mean()),
        bias=float(error.mean()),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """What few runs tell, all relative: standard deviations of a loss, and errors held out.

    Attributes:
        nearby: of the loss in the middle of the runs.
        nearby_before: the same before any run.
        further: of ten times the tokens of the longest run.
        further_before: the same before any run.
        held_out: mean error of each architecture's loss by the law that the others moved; None
            where the runs have one, or too many for it.
        held_out_before: the same by the law as it was.
    """

    nearby: float
    nearby_before: float
    further: float
    further_before: float
    held_out: float | None = None
    held_out_before: float | None = None


def told(law: LossLaw, draws: np.ndarray | None, runs: LawRuns, anchored: Anchored) -> Told:
    """What the runs tell of their data's law, `anchored` being what `anchor` made of them."""
    before = between_corpora(law, draws)
    longest = int(np.argmax(runs.n_tokens))
    middle = int(np.argsort(runs.measured_loss)[len(runs.measured_loss) // 2])

    def spread(numbers: np.ndarray, row: int, times: int) -> float:
        of_row = {name: column[row] for name, column in runs.columns.items()}
        own = numbers[:, : before.shape[1]].T
        loss = law_loss(
            own,
            runs.n_params[row],
            times * runs.n_tokens[row],
            of_row,
            terms=law.terms,
            kappa=law.kappa,
        )
        return float(np.log(loss).std())

    errors = None
    if 1 < len(np.unique(runs.shape)) <= MOST_HELD_OUT:
        errors = _held_out(law, draws, runs)
    return Told(
        nearby=spread(anchored.draws, middle, 1),
        nearby_before=spread(before, middle, 1),
        further=spread(anchored.draws, longest, 10),
        further_before=spread(before, longest, 10),
        held_out=errors and errors[0],
        held_out_before=errors and errors[1],
    )


def _held_out(law: LossLaw, draws: np.ndarray | None, runs: LawRuns) -> tuple[float, float]:
    """Mean relative errors of each architecture's rows, by the others' law and by that before."""
    after, before = [], []
    for shape in np.unique(runs.shape):
        left = runs.only(runs.shape == shape)
        moved = anchor(law, draws, runs.only(runs.shape != shape)).law
        for errors, of in ((after, moved), (before, law)):
            loss = of.loss(left.n_params, left.n_tokens, left.columns)
            errors.extend(np.abs(loss / left.measured_loss - 1))
    return float(np.mean(after)), float(np.mean(before))

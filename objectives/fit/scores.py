"""How well a loss law foretells runs that it has not seen, and what its residuals still say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from scipy import stats

from ...space.architecture import FIELDS
from ..law.loss_law import PARAMETERS
from ..law.terms import FORMS, NEEDS
from .law import LawFit, fit_varpro, law_data
from .runs import N_COLUMNS, Convention, LawRuns, law_runs
from .solver import log_residuals, minimise

# What a loss may hang on beside what the law counts; residuals are tested against each.
SUSPECTS = (*FIELDS, "aspect_ratio", "n_params", "n_tokens", "n_steps", "learning_rate")
# The chance of one false alarm among all those tests.
SIGNIFICANCE = 0.01
# The least spread, in ratio, of what a further term hangs on.
MIN_SPREAD = 0.1
# The powers that a fit chooses from.
KAPPAS = (1.0, 1 / 2, 1 / 3, 1 / 4)
# The share of rows, the largest, that an extrapolation is judged on.
JUDGED_SHARE = 1 / 3


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormScore:
    """One form of the law, judged on shapes left out.

    Attributes:
        form: a name from `FORMS`.
        kappa: the power in the law.
        mape: mean over the left-out shapes of their mean absolute relative error.
        standard_error: of that mean.
    """

    form: str
    kappa: float
    mape: float
    standard_error: float

    @property
    def n_more(self) -> int:
        """Unknowns beyond the five of Hoffmann's law."""
        return len(FORMS[self.form]) + (self.kappa != 1)


def leave_shape_out(runs: LawRuns, fit: LawFit) -> Score:
    """Each architecture's rows predicted by a law fitted to all others."""
    return _score(shape_out_residuals(runs, fit), runs.measured_loss)


def extrapolate(runs: LawRuns, fit: LawFit, by: Literal["n_params", "n_tokens"]) -> Score | None:
    """The rows largest in `by` predicted by a law fitted to the smaller; None: too few of those."""
    values = getattr(runs, by)
    largest = values > np.quantile(values, 1 - JUDGED_SHARE)
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
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    weights = (~largest)[None].astype(float)
    theta = minimise(fit.theta[None], data, weights, delta=fit.delta).theta
    return _score(log_residuals(theta, data)[0][largest], runs.measured_loss[largest])


def residual_trends(runs: LawRuns, fit: LawFit) -> list[Trend]:
    """The residuals against each of `SUSPECTS` that varies, the likeliest trend first.

    Rows are taken as independent, which those that share a run are not.
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
        p = min(1.0, len(tests) * float(result.pvalue))
        found.append(Trend(column=name, kind=kind, rho=float(result.statistic), p=p))
    return sorted(found, key=lambda trend: trend.p)


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


def choose_form(
    runs: LawRuns, fit: LawFit, kappas: tuple[float, ...] = KAPPAS
) -> tuple[FormScore, list[FormScore]]:
    """The simplest form of the law whose held-out error is within one standard error of the best.

    Forms that the runs cannot tell from the pure law are not tried.

    Args:
        runs: what to fit.
        fit: of the pure law; its threshold serves all forms.
        kappas: powers in the law to try with each.

    Returns:
        The chosen form, and every form's best score without coupling and with, simplest first.

    References:
        Hastie, Tibshirani and Friedman 2009, 'The elements of statistical learning', section 7.10,
        for the one-standard-error rule.
    """
    scores = []
    for form, terms in FORMS.items():
        if not _can_tell(runs, terms):
            continue
        tried = [_form_score(runs, form, kappa, fit.delta) for kappa in kappas]
        for same in ([s for s in tried if s.kappa == 1], [s for s in tried if s.kappa != 1]):
            scores += [min(same, key=lambda score: score.mape)] if same else []
    scores.sort(key=lambda score: (score.n_more, score.mape))
    best = min(scores, key=lambda score: score.mape)
    return next(s for s in scores if s.mape <= best.mape + best.standard_error), scores


def _form_score(runs: LawRuns, form: str, kappa: float, delta: float) -> FormScore:
    candidate = fit_varpro(runs, delta=delta, terms=FORMS[form], kappa=kappa)
    errors = by_shape(runs, np.abs(np.expm1(shape_out_residuals(runs, candidate))))
    return FormScore(
        form=form,
        kappa=kappa,
        mape=float(errors.mean()),
        standard_error=float(errors.std(ddof=1)) / math.sqrt(len(errors)),
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
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    shape = runs.shape
    folds = np.arange(shape.max() + 1)
    starts = np.repeat(fit.theta[None], len(folds), axis=0)
    weights = (shape != folds[:, None]).astype(float)
    theta = minimise(starts, data, weights, delta=fit.delta).theta
    residuals = log_residuals(theta, data)[shape, np.arange(len(shape))]
    # A law that foretells a negative loss is wrong by all of it.
    return np.nan_to_num(residuals, nan=-1.0)


def _can_tell(runs: LawRuns, terms: tuple[str, ...]) -> bool:
    """Whether the runs have a form's columns, varied apart from N and D, and enough rows."""
    needs = {column for name in terms for column in NEEDS[name]}
    if not needs <= set(runs.columns) or runs.n_runs <= len(PARAMETERS) + len(terms):
        return False
    columns = runs.columns
    # At one width over depth N says it all, and at one batch D does.
    apart = [columns["d_model"] / columns["n_layers"]] if "n_layers" in needs else []
    apart += [runs.n_tokens / columns["n_steps"]] if "n_steps" in needs else []
    return all(np.ptp(np.log(ratio)) > MIN_SPREAD for ratio in apart)


def _score(log_ratio: np.ndarray, measured: np.ndarray) -> Score:
    error = np.expm1(log_ratio)
    squares = ((error * measured) ** 2).sum()
    return Score(
        n_judged=len(measured),
        r2=float(1 - squares / ((measured - measured.mean()) ** 2).sum()),
        mape=float(np.abs(error).mean()),
        bias=float(error.mean()),
    )

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
from ..law.terms import COUNTS, FORMS, SHAPE, TERMS
from .law import LawFit, fit_varpro, law_data
from .prior import shrunk
from .runs import MIN_RUNS, N_COLUMNS, Convention, LawRuns, law_runs
from .solver import log_residuals, minimise

# What a loss may hang on beside what the law counts; residuals are tested against each.
SUSPECTS = (*FIELDS, "aspect_ratio", "n_params", "n_tokens", "n_steps", "learning_rate")
# The chance of one false alarm among all those tests.
SIGNIFICANCE = 0.01
# The least spread, in ratio, of what a further term hangs on.
MIN_SPREAD = 0.1
# The powers that a fit chooses from.
KAPPAS = (1.0, 1 / 2, 1 / 3, 1 / 4)
# E, A and alpha are told from models of several sizes, and terms in shape from several more.
N_OF_SIZE = 3
SHAPES_PER_UNKNOWN = 1.5
# Standard errors by which a form must be worse than the best to be given up for it: of many forms
# some is that much better by luck, and at 2 one family in six takes a term that it does not have.
SURELY = 3
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
        mape: mean over left-out shapes of their mean absolute relative error: of each shape
            alone, of all of the largest together, and of the rows of most tokens.
        standard_error: of the difference of that mean from the best form's.
        errors: whose mean that is, the same rows for every form.
    """

    form: str
    kappa: float
    mape: float
    standard_error: float
    errors: tuple[float, ...] = ()

    def error_of_difference(self, other: FormScore) -> float:
        """Standard error of the difference of two forms' mean errors on the same rows."""
        difference = np.subtract(self.errors, other.errors)
        return float(difference.std(ddof=1)) / math.sqrt(len(difference))

    @property
    def n_more(self) -> int:
        """Unknowns beyond the five of Hoffmann's law."""
        return len(FORMS[self.form]) + (self.kappa != 1)

    @property
    def preference(self) -> tuple[int, int, float]:
        """Forms that no rows tell apart are taken in this order.

        A term in the sum is worth as much to a model of any size; those in `size` and `tokens`
        fade with their part of the loss, as all that a finite model lacks must.
        """
        n_lasting = sum(TERMS[name].place == "sum" for name in FORMS[self.form])
        return n_lasting, self.n_more, self.mape


def leave_shape_out(runs: LawRuns, fit: LawFit) -> Score:
    """Each architecture's rows predicted by a law fitted to all others."""
    return _score(shape_out_residuals(runs, fit), runs.measured_loss)


def extrapolate(runs: LawRuns, fit: LawFit, by: Literal["n_params", "n_tokens"]) -> Score | None:
    """The rows largest in `by` predicted by a law fitted to the smaller; None: too few of those."""
    largest = _largest(runs, by)
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
    residuals = _residuals_left_out(runs, fit, largest[None])[0]
    return _score(residuals[largest], runs.measured_loss[largest])


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
    """The first form of the law, in order of preference, not surely worse than the best held out.

    Left out are single shapes, which have neighbours of their size, and the largest sizes and
    budgets, which have none. Forms are compared on the same rows, by the standard error of their
    difference (`SURELY`). Forms that the runs cannot tell from the pure law
    are not tried.

    Args:
        runs: what to fit.
        fit: of the pure law; its threshold serves all forms.
        kappas: powers in the law to try with each.

    Returns:
        The chosen form, and every form's best score without coupling and with, in that
        order.
    """
    scores = []
    for form, terms in FORMS.items():
        if not _can_tell(runs, terms):
            continue
        # A coupling of size and tokens is either a term or a power.
        powers = [kappa for kappa in kappas if kappa == 1 or "tokens_log_size" not in terms]
        tried = [_form_score(runs, form, kappa, fit.delta) for kappa in powers]
        for same in ([s for s in tried if s.kappa == 1], [s for s in tried if s.kappa != 1]):
            scores += [min(same, key=lambda score: score.mape)] if same else []
    scores.sort(key=lambda score: score.preference)
    best = min(scores, key=lambda score: score.mape)
    scores = [dataclasses.replace(s, standard_error=s.error_of_difference(best)) for s in scores]
    return next(s for s in scores if s.mape <= best.mape + SURELY * s.standard_error), scores


def _form_score(runs: LawRuns, form: str, kappa: float, delta: float) -> FormScore:
    candidate = shrunk(runs, fit_varpro(runs, delta=delta, terms=FORMS[form], kappa=kappa))
    errors = by_shape(runs, np.abs(np.expm1(shape_out_residuals(runs, candidate))))
    for by in ("n_params", "n_tokens"):
        errors = np.append(errors, _largest_errors(runs, candidate, by))
    return FormScore(
        form=form,
        kappa=kappa,
        mape=float(errors.mean()),
        standard_error=math.nan,
        errors=tuple(errors.tolist()),
    )


def _largest_errors(runs: LawRuns, fit: LawFit, by: str) -> np.ndarray:
    """Mean error of each shape's rows largest in `by`, none of them in the fit; it may be empty."""
    largest = _largest(runs, by)
    shape, n_rows = runs.shape[largest], np.bincount(runs.shape[largest])
    # What is left must still tell a law.
    if len(np.unique(runs.run[~largest])) < MIN_RUNS:
        return np.empty(0)
    errors = np.abs(np.expm1(_residuals_left_out(runs, fit, largest[None])[0][largest]))
    return np.bincount(shape, errors)[n_rows > 0] / n_rows[n_rows > 0]


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
    return _residuals_left_out(runs, fit, folds)[shape, np.arange(len(shape))]


def _residuals_left_out(runs: LawRuns, fit: LawFit, folds: np.ndarray) -> np.ndarray:
    """Log residuals of all rows by the fit without each fold's, (folds, R)."""
    data = law_data(runs, fit.terms, fit.kappa, fit.copying)
    starts = np.repeat(fit.theta[None], len(folds), axis=0)
    theta = minimise(starts, data, (~folds).astype(float), delta=fit.delta, prior=fit.prior).theta
    # A law that foretells a negative loss is wrong by all of it.
    return np.nan_to_num(log_residuals(theta, data), nan=-1.0)


def _largest(runs: LawRuns, by: str) -> np.ndarray:
    values = getattr(runs, by)
    return values > np.quantile(values, 1 - JUDGED_SHARE)


def _can_tell(runs: LawRuns, terms: tuple[str, ...]) -> bool:
    """Whether the runs have a form's columns, varied apart from N and D, and enough rows."""
    needs = {column for name in terms for column in TERMS[name].needs}
    if not needs <= set(runs.columns) or runs.n_runs <= len(PARAMETERS) + len(terms):
        return False
    columns = runs.columns
    n_of_shape = sum(set(TERMS[name].needs) <= {*SHAPE, *COUNTS} for name in terms)
    n_of_shape -= "tokens_log_size" in terms
    if n_of_shape and runs.shape.max() + 1 <= SHAPES_PER_UNKNOWN * (N_OF_SIZE + n_of_shape):
        return False
    # At one width over depth N says it all, and at one batch D does.
    apart = [columns["d_model"] / columns["n_layers"]] if "n_layers" in needs else []
    apart += [runs.n_tokens / columns["n_steps"]] if "n_steps" in needs else []
    if "n_params_non_embedding" in needs:
        apart += [columns["n_params"] / columns["n_params_non_embedding"]]
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

"""Which form of the law: judged on shapes, and on the largest sizes and budgets, left out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ..law.loss_law import PARAMETERS
from ..law.terms import COUNTS, FORMS, SHAPE, TERMS
from .law import LawFit, fit_varpro
from .prior import shrunk
from .runs import MIN_RUNS, LawRuns
from .scores import by_shape, largest_rows, residuals_left_out, shape_out_residuals

# The least spread, in ratio, of what a further term hangs on.
MIN_SPREAD = 0.1
# The powers that a fit chooses from.
KAPPAS = (1.0, 1 / 2, 1 / 3, 1 / 4)
# E, A and alpha are told from models of several sizes, and terms in shape from several more.
N_OF_SIZE = 3
SHAPES_PER_UNKNOWN = 1.5
# Standard errors by which a form must be worse than the best to be given up for it.
SURELY = 2
TINY = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormScore:
    """One form of the law, judged on shapes left out.

    Attributes:
        form: a name from `FORMS`.
        kappa: the power in the law.
        mape: mean over left-out shapes of their mean absolute relative error: of each shape
            alone, of all of the largest together, and of the rows of most tokens.
        above_best: how surely the errors are above the best form's, in standard errors.
        errors: whose mean that is, the same rows for every form.
    """

    form: str
    kappa: float
    mape: float
    above_best: float = 0.0
    errors: tuple[float, ...] = ()

    def errors_above(self, other: FormScore) -> float:
        """How surely its errors are above another's, in standard errors of their mean log ratio.

        In logs, for a few shapes far from all others have most of the errors' sum.
        """
        ratios = np.log(np.maximum(self.errors, TINY) / np.maximum(other.errors, TINY))
        spread = float(ratios.std(ddof=1)) / math.sqrt(len(ratios))
        return float(ratios.mean()) / max(spread, TINY)

    @property
    def n_more(self) -> int:
        """Unknowns beyond the five of Hoffmann's law."""
        return len(FORMS[self.form]) + (self.kappa != 1)

    @property
    def preference(self) -> tuple[int, int, bool, float]:
        """Forms that no rows tell apart are taken in this order.

        A term in the sum is worth as much to a model of any size; those in `size` and `tokens`
        fade with their part of the loss, as all that a finite model lacks must. A law without a
        power can be drawn towards published values where the runs leave it open.
        """
        n_lasting = sum(TERMS[name].place == "sum" for name in FORMS[self.form])
        return n_lasting, self.n_more, self.kappa != 1, self.mape


def choose_form(
    runs: LawRuns, fit: LawFit, kappas: tuple[float, ...] = KAPPAS
) -> tuple[FormScore, list[FormScore]]:
    """The first form of the law, in order of preference, not surely worse than the best held out.

    Left out are single shapes, which have neighbours of their size, and the largest sizes and
    budgets, which have none. Forms are compared on the same rows, by `errors_above`.
    Forms that the runs cannot tell from the pure law are not tried.

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
    scores = [dataclasses.replace(s, above_best=s.errors_above(best)) for s in scores]
    return next(s for s in scores if s.above_best <= SURELY), scores


def _form_score(runs: LawRuns, form: str, kappa: float, delta: float) -> FormScore:
    candidate = shrunk(runs, fit_varpro(runs, delta=delta, terms=FORMS[form], kappa=kappa))
    errors = by_shape(runs, np.abs(np.expm1(shape_out_residuals(runs, candidate))))
    for by in ("n_params", "n_tokens"):
        errors = np.append(errors, _largest_errors(runs, candidate, by))
    return FormScore(
        form=form,
        kappa=kappa,
        mape=float(errors.mean()),
        errors=tuple(errors.tolist()),
    )


def _largest_errors(runs: LawRuns, fit: LawFit, by: str) -> np.ndarray:
    """Mean error of each shape's rows largest in `by`, none of them in the fit; it may be empty."""
    largest = largest_rows(runs, by)
    shape, n_rows = runs.shape[largest], np.bincount(runs.shape[largest])
    # What is left must still tell a law.
    if len(np.unique(runs.run[~largest])) < MIN_RUNS:
        return np.empty(0)
    errors = np.abs(np.expm1(residuals_left_out(runs, fit, largest[None])[0][largest]))
    return np.bincount(shape, errors)[n_rows > 0] / n_rows[n_rows > 0]


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

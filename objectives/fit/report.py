"""What `anybudget fit` says of a table of runs: the law, how sure, how good, what else."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..law.copying import Copying
from ..law.loss_law import PARAMETERS, Convention, LossLaw
from ..law.terms import FORMS
from ..shown import Shown, numbers_frame
from .bootstrap import LawDraws, bootstrap_law
from .choose_copying import choose_copying, std_beyond_luck
from .forms import KAPPAS, FormScore, choose_form
from .law import REFERENCE_DELTA, LawFit, fit_linear, fit_varpro
from .multi_start import fit_multi_start
from .prior import shrunk
from .runs import LawRuns, as_loss_law, law_runs
from .scores import (
    Score,
    Trend,
    compare_conventions,
    extrapolate,
    leave_shape_out,
    residual_trends,
    trend_warnings,
)

if TYPE_CHECKING:
    import pandas as pd

# Of the published grid's 4,500: their lowest end is the grid's, in a ninth of its minutes.
N_STARTS = 500
Method = Literal["varpro", "linear", "multi_start"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """How a law is fitted.

    Attributes:
        method: `varpro`; `linear`, at the exponents of Inbar and Sernau 2024; or `multi_start`.
        form: of the further terms, a name from `FORMS`; `auto` keeps one only if it pays on
            shapes left out, and then copying likewise.
        kappa: the power in the law; None: chosen with the form where that is `auto`, else 1.
        copying: whether `auto` may find that runs learn to copy.
        n_convention: which parameters N counts; None: all, where the table has them.
        huber_delta: the threshold on the log residual beyond which a run pulls no harder, the
            published one unless told otherwise; 0: a multiple of the spread of the residuals.
        n_draws: bootstrap draws.
        seed: of the bootstrap.

    Raises:
        ValueError: an option is not one of those.
    """

    method: Method = "varpro"
    form: str = "auto"
    kappa: float | None = None
    copying: bool = True
    n_convention: Convention | None = None
    huber_delta: float = REFERENCE_DELTA
    n_draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        method, kappa = self.method, self.kappa
        if method not in get_args(Method):
            raise ValueError(
                f"a method is one of {', '.join(get_args(Method))}, but got {method!r}"
            )
        if not 0 <= self.huber_delta < 1:
            raise ValueError(f"`huber_delta` must be from 0 to below 1, but got {self.huber_delta}")
        if self.form not in ("auto", *FORMS):
            raise ValueError(f"a form is auto or one of {', '.join(FORMS)}, but got {self.form!r}")
        if method != "varpro" and self.form not in ("auto", "none"):
            raise ValueError(f"further terms are fitted by varpro, but got method {method!r}")
        if kappa is not None and not 0 < kappa <= 1:
            raise ValueError(f"`kappa` must be above 0 and at most 1, but got {kappa}")
        if method != "varpro" and kappa not in (None, 1):
            raise ValueError(f"a law with kappa is fitted by varpro, but got method {method!r}")
        if self.n_convention not in (None, *get_args(Convention)):
            raise ValueError(
                f"`n_convention` must be {' or '.join(get_args(Convention))}, "
                f"but got {self.n_convention!r}"
            )

    def fitter(self, on_start: Callable[[int, int], None]) -> Callable[..., LawFit]:
        """The function that fits some runs; `on_start` is called as starts of many are done."""
        delta = self.huber_delta
        match self.method:
            case "varpro":
                return partial(fit_varpro, delta=delta or None)
            case "linear":
                return fit_linear
        return partial(
            fit_multi_start,
            delta=delta or REFERENCE_DELTA,
            n_starts=N_STARTS,
            on_progress=on_start,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LawReport(Shown):
    """A fitted law with its uncertainty and its scores.

    Attributes:
        law: as `find --law` takes it.
        fit: what it came from.
        form: the name in `FORMS` of its further terms.
        draws: laws that the runs could as well have given; None for a method without bootstrap.
        scores: `leave_shape_out`, and `larger_n_params` and `larger_n_tokens`, the largest rows
            predicted from the smaller, None where the smaller are too few.
        forms: held-out errors of the forms tried; empty where the form was given.
        conventions: the held-out score of either way to count N, where the runs have both.
        trends: what still explains the residuals.
        warnings: what a reader must know, a sentence each.
    """

    law: LossLaw
    fit: LawFit
    form: str
    n_rows: int
    n_runs: int
    draws: LawDraws | None
    scores: dict[str, Score | None]
    forms: list[FormScore]
    conventions: dict[Convention, Score]
    trends: list[Trend]
    warnings: list[str]

    @property
    def headline(self) -> str:
        """The law, from how many runs, and what it leaves unexplained."""
        return (
            f"law {self.law.name} of {self.n_runs} runs, {self.law.residual_std:.2%} of a typical "
            "run unexplained"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The law's numbers, a row each, with standard error and interval of 95%."""
        return numbers_frame(self.as_dict(), self.law.numbers)

    def as_dict(self) -> dict[str, Any]:
        """The report as one JSON object."""
        errors = self.draws.standard_errors() if self.draws else {}
        intervals = self.draws.intervals() if self.draws else {}
        stuck = self.fit.at_bound
        numbers = {
            name: {
                "value": value,
                "standard_error": None if name in stuck else errors.get(name),
                "interval_95": None if name in stuck else intervals.get(name),
            }
            for name, value in self.law.numbers.items()
        }
        return numbers | {
            "kappa": self.law.kappa,
            "method": self.fit.method,
            "form": self.form,
            "n_convention": self.law.n_convention,
            "n_rows": self.n_rows,
            "n_runs": self.n_runs,
            "huber_delta": self.fit.delta if self.fit.delta < float("inf") else None,
            "residual_std": self.law.residual_std,
            "scores": {n: s and dataclasses.asdict(s) for n, s in self.scores.items()},
            "forms": [_without_errors(form) for form in self.forms],
            "conventions": {n: dataclasses.asdict(s) for n, s in self.conventions.items()},
            "trends": [dataclasses.asdict(trend) for trend in self.trends],
            "warnings": self.warnings,
        }


def report_law(
    table: Mapping[str, Any],
    *,
    name: str,
    source: str,
    fitting: Fitting = Fitting(),
    on_progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> LawReport:
    """Fit a law to a table of runs and judge it.

    Args:
        table: columns by name, as `law_runs` takes them.
        name: of the law.
        source: where its numbers stand.
        fitting: how.
        on_progress: called with the stage, what is newly done in it, and the stage's total.

    Raises:
        ValueError: the runs cannot tell a law.
    """
    runs = law_runs(table, n_convention=fitting.n_convention)
    fitter = fitting.fitter(lambda done, total: on_progress("starts", 1, total))
    if fitting.method == "varpro":
        chosen = _choose(runs, fitter, fitting.form, fitting.kappa, copying=fitting.copying)
    else:
        only = fitter(runs)
        chosen = _Chosen(fit=only, pure=only, form="none")
    fit = chosen.fit
    law = as_loss_law(fit, runs, name=name, corpus=corpus_of(table), source=source)
    if fit.copying:
        law = dataclasses.replace(law, residual_std=std_beyond_luck(runs, fit))
    if fit.terms:
        law = dataclasses.replace(law, pure=tuple(chosen.pure.values[name] for name in PARAMETERS))
    draws, scores = None, {}
    if fitting.method != "linear":
        draws = bootstrap_law(runs, fit, n_draws=fitting.n_draws, seed=fitting.seed)
        scores = _scores(runs, fit)
    trends = residual_trends(runs, fit)
    of_draws = draws.warnings() if draws else ()
    warnings = (*runs.warnings, *fit.warnings, *of_draws, *trend_warnings(trends))
    return LawReport(
        law=law,
        fit=fit,
        form=chosen.form,
        n_rows=len(runs.n_params),
        n_runs=runs.n_runs,
        draws=draws,
        scores=scores,
        forms=list(chosen.forms),
        conventions={name: score for name, (_, score) in compare_conventions(table).items()},
        trends=trends,
        warnings=list(dict.fromkeys(warnings)),
    )


class _Chosen(NamedTuple):
    """A fit of the form that was asked for or pays, and the same without further terms."""

    fit: LawFit
    pure: LawFit
    form: str
    forms: Sequence[FormScore] = ()


def _choose(
    runs: LawRuns, fitter: Callable[..., LawFit], form: str, kappa: float | None, *, copying: bool
) -> _Chosen:
    """Fit the form, or the one that pays on shapes left out, and then copying likewise."""

    @cache
    def fitted(form: str, kappa: float, copying: Copying | None) -> LawFit:
        return shrunk(runs, fitter(runs, terms=FORMS[form], kappa=kappa, copying=copying))

    forms, found = [], None
    if form == "auto":
        pure = fitted("none", 1.0, None)
        chosen, forms = choose_form(runs, pure, KAPPAS if kappa is None else (kappa,))
        form, kappa = chosen.form, chosen.kappa
        found = choose_copying(runs, fitted(form, kappa, None)) if copying else None
    how = (kappa or 1.0, found)
    return _Chosen(
        fit=fitted(form, *how),
        pure=fitted("none", *how),
        form=form,
        forms=forms,
    )


def _scores(runs: LawRuns, fit: LawFit) -> dict[str, Score | None]:
    return {
        "leave_shape_out": leave_shape_out(runs, fit),
        "larger_n_params": extrapolate(runs, fit, "n_params"),
        "larger_n_tokens": extrapolate(runs, fit, "n_tokens"),
    }


def _without_errors(form: FormScore) -> dict[str, Any]:
    row = dataclasses.asdict(form)
    del row["errors"]
    return row


def corpus_of(table: Mapping[str, Any]) -> str:
    """The one text of a table's runs, as far as it says."""
    names = {str(name) for name in table.get("corpus", ())}
    return names.pop() if len(names) == 1 else "not stated"

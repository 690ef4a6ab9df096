"""A fitted law as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from ...objectives.fit.report import LawReport
from ...presets.anchored import Moved
from .parts import plain_table, prose, show_warnings


def show_law(report: LawReport | Moved) -> Iterator[str | Table]:
    """A law fitted to runs, or moved by them."""
    return _moved(report) if isinstance(report, Moved) else _fitted(report)


def _fitted(report: LawReport) -> Iterator[str | Table]:
    """The numbers with their errors, the held-out scores, the forms tried, the warnings."""
    law = report.law
    yield (
        f"{escape(law.name)}: {report.n_rows} rows of {report.n_runs} runs, by "
        f"{report.fit.method}; N counts {law.n_convention} parameters; further terms: "
        f"{report.form}.\n"
        f"L(N, D) = {law.formula}\n"
        + (f"Copying: {law.copying.sentence}.\n" if law.copying else "")
    )
    yield _numbers(report)
    yield ""
    yield _scores(report)
    if report.forms:
        yield ""
        yield _forms(report)
    yield ""
    yield from show_warnings(report.warnings)


def _moved(moved: Moved) -> Iterator[str | Table]:
    """How far a law was moved, its numbers before and after, and what the runs tell."""
    law, told = moved.law, moved.told
    yield f"{prose(f'{law.name}: {moved.headline}.')}\nL(N, D) = {law.formula}\n"
    table = plain_table("", "before", "after", "std. error", "95% interval")
    for name, before, after, error, low, high in moved.frame.itertuples():
        interval = f"{low:.5g} .. {high:.5g}"
        table.add_row(name, f"{before:.5g}", f"{after:.5g}", f"{error:.2g}", interval)
    yield table
    yield ""
    runs_tell = f"{moved.n_runs} runs tell" if moved.n_runs > 1 else "1 run tells"
    yield prose(
        f"What {runs_tell}: the loss in their midst to {told.nearby:.1%} (one standard deviation; "
        f"{told.nearby_before:.0%} before), at ten times the most tokens to {told.further:.1%} "
        f"({told.further_before:.0%} before)."
    )
    if told.held_out is not None:
        yield prose(
            f"Each architecture foretold by the others: {told.held_out:.1%} off on average, and "
            f"by the law as it was {told.held_out_before:.1%}."
        )
    yield ""
    yield from show_warnings(list(moved.warnings))


def _numbers(report: LawReport) -> Table:
    table = plain_table("", "value", "std. error", "95% interval")
    errors = report.draws.standard_errors() if report.draws else {}
    intervals = report.draws.intervals() if report.draws else {}
    for name, value in report.law.numbers.items():
        interval = "{:.5g} .. {:.5g}".format(*intervals[name]) if name in intervals else "-"
        error = f"{errors[name]:.2g}" if name in errors else "-"
        table.add_row(name, f"{value:.5g}", error, interval)
    return table


def _scores(report: LawReport) -> Table:
    table = plain_table("held out", "rows", "R²", "mean error", "bias")
    names = {
        "leave_shape_out": "each architecture in turn",
        "larger_n_params": "the largest third in N",
        "larger_n_tokens": "the largest third in D",
    }
    scores = {names[name]: score for name, score in report.scores.items()}
    scores |= {
        f"each architecture, N counting {name}": score
        for name, score in report.conventions.items()
        if len(report.conventions) > 1
    }
    for name, score in scores.items():
        if score is None:
            table.add_row(name, "too few", "", "", "")
        else:
            table.add_row(
                name,
                str(score.n_judged),
                f"{score.r2:.4f}",
                f"{score.mape:.2%}",
                f"{score.bias:+.2%}",
            )
    return table


def _forms(report: LawReport) -> Table:
    table = plain_table("form", "kappa", "held-out error", "worse by", "")
    for form in report.forms:
        is_chosen = (form.form, form.kappa) == (report.form, report.law.kappa)
        table.add_row(
            form.form,
            f"{form.kappa:.3g}",
            f"{form.mape:.2%}",
            f"{form.above_best:.1f} s.e.",
            "chosen" if is_chosen else "",
        )
    return table

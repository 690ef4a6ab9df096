"""The report of a folder: its batch, or its search and, once it was trained, the confirmation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from ...files.write import check_writable, write_whole
from ...objectives.budget import format_budget
from ...search.batch.record import is_batch
from ...search.experts import refuse_sparse
from ...search.record import read_record
from ...validation.confirm.confirmed import Confirmed, ConfirmedModel, load_confirmed
from ..pictures.confirmation import losses, step_times
from .batch import batch_page
from .page import Cell, Column, Page, Section, Table, render
from .search import search_page

REPORT_FILE = "report.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write a folder's report.

    Args:
        folder: what `find --out` wrote, and `confirm` added to; or the result file in it; or what
            `batch` wrote.
        out: the HTML file; by default `report.html` in the folder.

    Returns:
        The file.

    Raises:
        ValueError: the folder does not hold what `find` and `confirm`, or `batch`, write, or the
            file cannot be written.
    """
    folder = folder.parent if folder.is_file() else folder
    out = out or folder / REPORT_FILE
    if out.suffix != ".html":
        raise ValueError(f"--out must be a .html file, but got {str(out)!r}")
    text = batch_page(folder) if is_batch(folder) else render(_of_search(folder))
    if out.parent.is_dir():
        check_writable(out.parent)
    write_whole(out, text)
    return out


def _of_search(folder: Path) -> Page:
    answer = read_record(folder, whole=True)
    refuse_sparse(answer.question, "a report")
    page = search_page(answer)
    confirmed = load_confirmed(folder)
    return with_confirmation(page, confirmed) if confirmed else page


def with_confirmation(page: Page, confirmed: Confirmed) -> Page:
    """The page with what training says of it."""
    return dataclasses.replace(
        page,
        basis=[*page.basis, f"Trained: {confirmed.verdict}"],
        warnings=[*page.warnings, *confirmed.warnings],
        sections=[*page.sections, _measured(confirmed)],
        assumptions=[*page.assumptions, ("Training", _training(confirmed))],
        commands=[*page.commands, confirmed.command],
        made_by=[*page.made_by, ("Trained", confirmed.date)],
    )


def _training(confirmed: Confirmed) -> str:
    return (
        f"{format_budget(confirmed.time_budget_s)} a model on {confirmed.device}, on "
        f"{confirmed.corpus}, {confirmed.n_corpus_tokens:,} tokens of it (fingerprint "
        f"{confirmed.corpus_fingerprint}); predictions by {confirmed.law}, a law of "
        f"{confirmed.law_corpus}."
    )


def _measured(confirmed: Confirmed) -> Section:
    noise = "Seed noise is unknown, with one seed each."
    if confirmed.seed_noise_nats is not None:
        noise = (
            "Lines join the lowest and the highest seed; one standard deviation over seeds is "
            f"{confirmed.seed_noise_nats:.4f} nats per token."
        )
    error = confirmed.loss.mean_error
    level = f"Predicted less measured loss is {error:+.2f} nats on average. " if error else ""
    return Section(
        finding=_finding(confirmed),
        text="Where there is a dashed line, predictions on it came true. The best of the search "
        f"is set beside contrast, models spread over predicted loss. {level}{noise}",
        pictures=[losses(confirmed), step_times(confirmed)],
        table=_table(confirmed),
    )


def _finding(confirmed: Confirmed) -> str:
    text = f"{confirmed.best_measured} has the lowest loss of those trained"
    if confirmed.loss.spearman is not None:
        rank = f"{confirmed.loss.spearman:.2f}".replace("-", "−")
        text += f"; rank correlation {rank} (Spearman)"
    if confirmed.log_step_time.mean_error is not None:
        ratio = math.exp(-confirmed.log_step_time.mean_error)
        text += f"; steps took {ratio:.3g} times as long as predicted"
    return text


def _table(confirmed: Confirmed) -> Table:
    best = min((m.measured_loss for m in confirmed.models if m.measured_loss), default=math.inf)
    columns = [
        Column(name="model", unit="width × depth", number=False),
        Column(name="why", number=False),
        Column(name="loss", unit="measured, nats"),
        Column(name="loss", unit="predicted, nats"),
        Column(name="behind", unit="the best measured, nats"),
        Column(name="step", unit="measured, ms"),
        Column(name="step", unit="predicted, ms"),
        Column(name="tokens", unit="measured, millions"),
        Column(name="tokens", unit="predicted, millions"),
    ]
    if confirmed.p_best:
        columns.append(Column(name="P(best)", unit="before training, %"))
    return Table(
        columns=columns,
        rows=[_row(model, best, confirmed.p_best) for model in confirmed.models],
    )


def _row(model: ConfirmedModel, best: float, p_best: dict[str, float]) -> list[Cell]:
    loss = model.measured_loss
    cells = [
        Cell(text=model.label, sort=model.label),
        Cell(text=model.role, sort=model.role),
        _number(loss, ".4f", instead=model.failures),
        _number(model.predicted_loss, ".4f"),
        _number(None if loss is None else loss - best, ".4f"),
        _number(model.step_time_s and 1e3 * model.step_time_s, ",.4g"),
        _number(1e3 * model.predicted_step_time_s, ",.4g"),
        _number(model.n_tokens and model.n_tokens / 1e6, ",.3g"),
        _number(model.predicted_n_tokens / 1e6, ",.3g"),
    ]
    if p_best:
        chance = p_best.get(model.label)
        cells.append(_number(None if chance is None else 100 * chance, ".1f"))
    return cells


def _number(value: float | None, form: str, instead: str = "–") -> Cell:
    """A number's cell; without one it comes last when sorted."""
    if value is None:
        return Cell(text=instead, sort=None)
    return Cell(text=f"{value:{form}}", sort=value)

"""A confirmation as text for a terminal: the table, the agreement, the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from ...objectives.budget import format_budget
from ...validation.confirm.compare import Agreement, Comparison
from ..words import milliseconds
from .parts import plain_table, prose, show_warnings

if TYPE_CHECKING:  # it trains
    from ...validation.confirm.confirm import Confirmation

Lines = Iterator[str | Table]


def show_confirmation(confirmation: Confirmation) -> Lines:
    """What it rests on, predicted beside measured, and the verdict."""
    objective, tokens = confirmation.objective, confirmation.tokens
    yield prose(
        f"Each model trained for {format_budget(objective.time_budget_s)} on {tokens.corpus}, at "
        f"most {confirmation.max_bytes / 1e6:,.0f} MB of it: {len(tokens.train) / 1e6:,.3g}M "
        f"tokens of a vocabulary of {tokens.vocab_size:,}."
    )
    yield prose(f"Device {objective.device.label}; law {objective.law.name}.") + "\n"
    yield _models(confirmation.comparison)
    yield ""
    yield from _agreement(confirmation.comparison)
    if confirmation.p_best:
        chances = ", ".join(f"{label} {p:.0%}" for label, p in confirmation.p_best.items())
        yield prose(f"P(best) among these before training: {chances}.")
    yield f"\n[bold]{prose(confirmation.verdict)}[/]"
    yield from show_warnings(confirmation.warnings)


def _models(comparison: Comparison) -> Table:
    table = plain_table(
        "model", "why", "step ms", "measured", "tokens", "measured", "loss", "measured", "behind"
    )
    best = comparison.best.measured_loss
    for model in comparison.models:
        prediction, loss = model.candidate.prediction, model.measured_loss
        table.add_row(
            model.label,
            model.role,
            milliseconds(prediction.step_time_s, 4),
            _number(model.step_time_s and 1e3 * model.step_time_s, ",.4g"),
            f"{prediction.n_tokens / 1e6:,.3g}M",
            _number(model.n_tokens and model.n_tokens / 1e6, ",.3g", "M"),
            f"{model.candidate.loss:.4f}",
            _number(loss, ".4f") if loss is not None else model.failures,
            _number(loss - best if loss is not None and best is not None else None, ".4f"),
        )
    return table


def _agreement(comparison: Comparison) -> Lines:
    table = plain_table("predicted and measured", "R²", "R² of a line", "Spearman", "mean error")
    time = comparison.log_step_time
    ratio = None if time.mean_error is None else math.exp(time.mean_error)
    _add(table, "loss", comparison.loss, _number(comparison.loss.mean_error, "+.4f", " nats"))
    _add(table, "log step time", time, "-" if ratio is None else f"×{ratio:.3g}")
    yield table
    yield ""
    regret = _number(comparison.regret_nats, ".4f", " nats")
    share = _number(comparison.regret_share, ".2%")
    noise = _number(comparison.seed_noise_nats, ".4f", " nats (one standard deviation)")
    noise = "unknown (one seed each)" if comparison.seed_noise_nats is None else noise
    yield f"Regret of the predicted winner: {regret} ({share}). Seed noise: {noise}."


def _add(table: Table, name: str, agreement: Agreement, error: str) -> None:
    values = (agreement.r_squared, agreement.r_squared_of_line, agreement.spearman)
    table.add_row(name, *(_number(value, ".3g") for value in values), error)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"

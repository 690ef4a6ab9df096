"""A search's answer as text for a terminal, one function a block, for the face to print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from ...objectives.budget import format_budget
from ...objectives.flags import tokens_of_law
from ...objectives.loss_at_time import REACH
from ...search.answer import Answer
from ...search.question import Question
from ...search.ranking import AS_GOOD
from ...search.valley import valley
from ...space.architecture import marks, marks_mean
from ...space.sparse import FIELD as EXPERTS
from ...space.sparse import N_PER_TOKEN, is_sparse
from ..words import (
    REMAT_MARKS,
    gigabytes,
    loss_interval,
    milliseconds,
    remat_means,
    shape_of,
    short_count,
)
from .parts import WIDTH, Lines, assumptions, costs, plain_table, prose, show_warnings

if TYPE_CHECKING:
    import pandas as pd


def show_found(found: Answer, space_name: str) -> Lines:
    """The answer, a screen of 80 columns: what to train, what else, how sure, what to beware of."""
    n_architectures = found.space.n_architectures
    space = f"; space {space_name}, {n_architectures:,} architectures"
    yield assumptions(found.objective, space) + "\n"
    yield from _answer(found)
    yield from _candidates(found)
    yield from _certificate(found)
    yield from _how_sure(found)
    yield from show_warnings(found.warnings)


def _answer(found: Answer) -> Lines:
    """What to train, and what comes of it."""
    objective, best = found.objective, found.best
    arch, predicted = best.arch, best.prediction
    far = ", as a guess," * is_guess(found)
    shape, loss = f"d_model {arch.d_model} × {arch.n_layers} layers", f"{best.loss:.4f}"
    met, active = predicted.n_active_params, ""
    if is_sparse(arch):
        shape += f", {arch.as_dict()[EXPERTS]} experts, {N_PER_TOKEN} a token"
        active = f", {short_count(met)} of them active"
    text = prose(
        f"In {format_budget(objective.time_budget_s)} train{far} {shape}, {arch.n_heads} heads of "
        f"{arch.d_head}, {' '.join([f'd_ff {arch.d_ff}', *arch.words])}: "
        f"{short_count(predicted.n_params)} parameters{active}, {short_count(predicted.n_tokens)} "
        f"tokens, {predicted.n_tokens / met:.1f} of them per {'active ' * bool(active)}parameter, "
        f"predicted loss {loss}."
    )
    # Where a line ends within one, it stays plain.
    for told in (shape, loss):
        text = text.replace(told, f"[bold]{told}[/]", 1)
    yield f"{text}\n{costs(objective)}"


def is_guess(found: Answer) -> bool:
    """Whether parameters or tokens are far beyond what the law's runs had."""
    objective, predicted = found.objective, found.best.prediction
    law, n_params = objective.law, objective.counted_params(predicted)
    n_tokens = tokens_of_law(objective, found.best.arch, predicted)
    beyond = n_params / law.n_params_range[1], n_tokens / law.n_tokens_range[1]
    return max(beyond) > REACH


def _candidates(found: Answer) -> Lines:
    """The candidates; result.json and candidates.csv hold every quantity."""
    rows = found.rows
    yield _table(rows, certified=found.certified)
    yield _marks(rows)


def _table(rows: list[dict[str, Any]], *, certified: bool) -> Table:
    columns = {name: [] for name in _cells(rows[0], rows[0], certified=certified)}
    for row in rows:
        for name, cell in _cells(row, rows[0], certified=certified).items():
            columns[name].append(cell)
    width = sum(1 + max(map(len, [name, *cells])) for name, cells in columns.items())
    if width - 1 > WIDTH:
        del columns["tokens"]  # which follow from the step's time, and the sentence has the best's
    table = plain_table(*columns)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    return table


def _cells(row: dict[str, Any], first: dict[str, Any], *, certified: bool) -> dict[str, str]:
    """A candidate's cells by the names of their columns."""
    cells = {
        "shape": f"{row['d_model']}×{row['n_layers']}",
        "heads": f"{row['n_heads']}×{row['d_head']}",
        "kv": str(row["n_kv_heads"]),
        "d_ff": f"{f'{row[EXPERTS]}×' if EXPERTS in row else ''}{row['d_ff']}{marks(row)}",
        "params": short_count(row.get("n_active_params", row["n_params"])),
        "step ms": milliseconds(row["step_time_s"]),
        "tokens": short_count(row["n_tokens"]),
        "GB": gigabytes(row["memory_bytes"])
        + REMAT_MARKS[row["remat"]]
        + ("s" if row["sharding"] == "full" else ""),
        "loss": f"{row['predicted_loss']:.4f}",
    }
    if "p_best" not in row:
        return cells | {"behind": f"{row['loss_behind_best']:.4f}"}
    interval = f"{row['behind_low']:+.3f}..{row['behind_high']:+.3f}"
    cells["behind, 95%"] = "" if row is first else interval
    return cells | {"P(best)": f"{row['p_best']:.0%}"} if certified else cells


def _certificate(found: Answer) -> Lines:
    """What is proved, and why the winner is not what has the very lowest loss, where it is not."""
    regret, optimum = found.optuna_regret, found.optimum
    sentences = []
    if found.certified:
        ended = "found nothing that fits" if regret is None else f"ended {regret:.2g} above"
        whose = f"{shape_of(optimum)} has the " * (optimum.shape != found.best.shape)
        sentences.append(f"Certified: {whose}lowest loss of all {found.covered}; Optuna {ended}.")
    if optimum.shape != found.best.shape:
        sentences.append(
            f"{shape_of(found.best)} is the smallest of those expected within {AS_GOOD} nats of it."
        )
    if sentences:
        yield prose(" ".join(sentences))


def _how_sure(found: Answer) -> Lines:
    """The valley around the winner, the interval of its loss, and its chance to be the best.

    A chance among the few that a search met is none among all, so only a certified one is told.
    """
    if found.enumerated and len(found.shapes) > 1:
        yield prose(f"The valley: {valley(found.shapes)}")
    law = found.objective.law
    if not found.standings:
        yield prose(f"How sure: not known, for {law.name} comes without draws.") + "\n"
        return
    best, n_others = found.standings[0], len(found.tied_shapes) - 1
    tied = f"{n_others} other shapes tie" if n_others > 1 else "one other shape ties"
    chance = f"; {tied if n_others else 'no other shape ties'} with it" * found.certified
    chance += f" (P(best) {best.p_best:.0%})" * found.certified
    yield (
        prose(f"How sure: {loss_interval(law, best, of_experts=is_sparse(found.space))}{chance}.")
        + "\n"
    )


def _marks(rows: list[dict[str, Any]]) -> str:
    experts = "n×d_ff: n experts; params: active" if EXPERTS in rows[0] else ""
    full = "s: fully sharded" if any(row["sharding"] == "full" for row in rows) else ""
    remats = remat_means({row["remat"] for row in rows})
    meanings = "; ".join(filter(None, [experts, *marks_mean(rows), *remats, full]))
    return f"[dim]{prose(meanings)}[/]\n" if meanings else ""


def show_front(
    frame: pd.DataFrame, question: Question, *, certified: bool, most: int = 20
) -> Lines:
    """A Pareto front, thinned to `most` rows spread over it where it was explored."""
    yield assumptions(question.objective) + "\n"
    most = len(frame) if certified else most
    priced = question.cost_usd is not None
    table = plain_table(
        "time", *(["cost"] if priced else []),
        "memory GB", "shape", "heads", "d_ff", "params", "tokens", "loss",
    )  # fmt: skip
    kept = np.unique(np.linspace(0, len(frame) - 1, most).round().astype(int))
    for row in frame.iloc[kept].to_dict(orient="records"):
        table.add_row(
            format_budget(row["time_budget_s"]),
            *([f"${row['cost_usd']:,.2f}"] if priced else []),
            gigabytes(row["memory_bytes"]),
            f"{row['d_model']}×{row['n_layers']}",
            f"{row['n_heads']}×{row['d_head']}",
            f"{row['d_ff']}{marks(row)}",
            short_count(row["n_params"]),
            short_count(row["n_tokens"]),
            f"{row['predicted_loss']:.4f}",
        )
    yield table
    if certified:
        yield "\n" + prose(
            f"Certified: of all {question.space.n_architectures:,} architectures, by bounds, the "
            "lowest predicted loss at each of several limits; between two it lies between theirs."
        )
    else:
        yield f"\n{len(frame)} models that no other tried beats in both; {len(kept)} shown."

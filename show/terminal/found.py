"""A search's answers as text for a terminal: sentences and tables, for the face to print."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape
from rich.table import Table

from ...objectives.budget import format_budget
from ...objectives.device import Device
from ...objectives.law.loss_law import LossLaw
from ...objectives.loss_at_time import FUSED_MARK, LossAtTime
from ...search.answer import Answer
from ...search.question import Question
from ...search.valley import valley
from ...space.architecture import marks, marks_mean
from ..words import REMAT_MARKS, gigabytes, remat_means, short_count, whose_level

if TYPE_CHECKING:
    import pandas as pd

Lines = Iterator[str | Table]


def show_found(found: Answer, space_name: str) -> Lines:
    """The answer: what it rests on, the winner, the candidates, the certificate, the warnings."""
    objective, best = found.objective, found.best
    arch, predicted = best.arch, best.prediction
    yield _assumptions(objective) + (
        f"Space {escape(space_name)}: {found.space.n_architectures:,} architectures.\n"
    )
    yield (
        f"In {format_budget(objective.time_budget_s)} train "
        f"[bold]d_model {arch.d_model} × {arch.n_layers} layers[/], {arch.n_heads} heads of "
        f"{arch.d_head}, {' '.join([f'd_ff {arch.d_ff}', *arch.words])}:\n"
        f"{short_count(predicted.n_params)} parameters, {short_count(predicted.n_tokens)} tokens, "
        f"{predicted.n_tokens / predicted.n_params:.1f} of them per parameter, predicted loss "
        f"[bold]{predicted.predicted_loss:.4f}[/].\n" + _costs(objective)
    )
    rows = found.rows
    yield _candidates(rows, certified=found.certified)
    yield _marks(rows)
    if found.certified:
        regret = found.optuna_regret
        ended = "found nothing that fits" if regret is None else f"ended {regret:.2g} above it"
        yield (
            f"Certified: the lowest predicted loss of all {found.covered}.\n"
            f"Optuna, in {found.n_trials} trials and a polish, {ended}.\n"
        )
    yield from _how_sure(found)
    yield from show_warnings(found.warnings)


def show_prediction(answer: dict[str, Any], objective: LossAtTime) -> Lines:
    """One architecture's prediction: where its step goes, and what comes of it."""
    yield _assumptions(objective)
    table = plain_table("part", "parameters", "memory copies", "FLOPs", "step ms", "share")
    for part, row in answer["parts"].items():
        table.add_row(
            part,
            f"{row['n_params']:,}",
            f"{row['memcpys']:.3g}",
            f"{row['flops']:.3g}",
            f"{row['step_time_s'] * 1e3:.2f}",
            f"{row['step_time_s'] / answer['step_time_s']:.1%}",
        )
    yield table
    if objective.n_chips > 1:
        yield "\nAll but parameters, steps and tokens is per chip."
    yield (
        f"\n{answer['n_params']:,} parameters ({answer['n_params_non_embedding']:,} outside the "
        f"vocabulary), {gigabytes(answer['memory_bytes'])} GB, remat {answer['remat']}\n"
        f"{answer['step_time_s'] * 1e3:.2f} ms a step × {answer['n_steps']:,} steps = "
        f"{answer['n_tokens']:,} tokens ({answer['tokens_per_param']:.1f} per parameter)\n"
    )
    yield _costs(objective)
    if answer["feasible"]:
        sure = answer["loss_low"] is not None
        interval = " ({loss_low:.3f} to {loss_high:.3f}, 95%)".format(**answer) if sure else ""
        yield f"predicted loss [bold]{answer['predicted_loss']:.4f}[/]{interval} nats per token"
        yield escape(whose_level(objective.law)) + "\n"
    else:
        yield "[bold]cannot be trained so[/]: it does not fit, or makes no step in the budget\n"
    yield from show_warnings(answer["warnings"])


def show_front(
    frame: pd.DataFrame, question: Question, *, certified: bool, most: int = 20
) -> Lines:
    """A Pareto front, thinned to `most` rows spread over it where it was explored."""
    yield _assumptions(question.objective)
    most = len(frame) if certified else most
    table = plain_table("time", "memory GB", "shape", "heads", "d_ff", "params", "tokens", "loss")
    kept = np.unique(np.linspace(0, len(frame) - 1, most).round().astype(int))
    for row in frame.iloc[kept].to_dict(orient="records"):
        table.add_row(
            format_budget(row["time_budget_s"]),
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
        yield (
            f"\nCertified: of all {question.space.n_architectures:,} architectures, by bounds, the "
            "lowest predicted loss at each of several limits; between two it lies between theirs."
        )
    else:
        yield f"\n{len(frame)} models that no other tried beats in both; {len(kept)} shown."


def show_warnings(warnings: list[str]) -> Lines:
    """One marked line for each."""
    for warning in warnings:
        yield f"[yellow]![/] {escape(warning)}"


def show_devices(devices: list[Device], *, sources: bool) -> Lines:
    """A table of devices, and where their numbers come from."""
    table = plain_table("device", "kind", "peak TFLOP/s", "GB/s", "memory GB", "step time")
    for device in devices:
        table.add_row(
            device.name,
            device.kind,
            f"{device.peak_flops_per_s / 1e12:.4g}",
            f"{device.bandwidth_bytes_per_s / 1e9:.4g}",
            f"{device.memory_bytes / 1e9:.4g}",
            device.basis,
        )
    yield table
    yield from _sources(devices) if sources else ()


def show_laws(laws: list[LossLaw], *, sources: bool) -> Lines:
    """A table of laws, and where their numbers come from."""
    table = plain_table("law", "E", "A", "alpha", "B", "beta", "kappa", "N counts", "N", "D")
    for law in laws:
        table.add_row(
            law.name,
            *(f"{n:.4g}" for n in (law.E, law.A, law.alpha, law.B, law.beta, law.kappa)),
            law.n_convention,
            *("{:.2g}..{:.2g}".format(*ends) for ends in (law.n_params_range, law.n_tokens_range)),
        )
    yield "L(N, D) = (E + A / N^alpha + B / D^beta)^kappa, nats per token\n"
    yield table
    copying = [f"{law.name}: {law.copying.sentence}" for law in laws if law.copying]
    yield from map(escape, ["\nCopying", *copying] if copying else [])
    yield from _sources(laws) if sources else ()


def plain_table(*columns: str) -> Table:
    """A table without lines, the first column to the left, the numbers to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for at, name in enumerate(columns):
        table.add_column(name, justify="right" if at else "left", no_wrap=True)
    return table


def _assumptions(objective: LossAtTime) -> str:
    times = f"{objective.n_chips} × " if objective.n_chips > 1 else ""
    attention = FUSED_MARK * objective.fused
    return escape(f"Device {times}{objective.device.label}{attention}; law {objective.law.name}.\n")


def _costs(objective: LossAtTime) -> str:
    """What the budget costs; nothing where no price is known."""
    device, n_chips = objective.device, objective.n_chips
    cost = device.cost_usd(n_chips, objective.time_budget_s)
    if cost is None:
        return ""
    times = f"{n_chips} × " if n_chips > 1 else ""
    return f"It costs ${cost:,.2f} at {times}${device.price_per_hour_usd:,.2f} an hour.\n"


def _sources(rows: list[Any]) -> Lines:
    yield "\n[dim]Sources[/]"
    for row in rows:
        yield escape(f"{row.name}: {row.source}")


def _candidates(rows: list[dict[str, Any]], *, certified: bool) -> Table:
    """The candidates in 80 columns; result.json and candidates.csv hold every quantity."""
    sure = "p_best" in rows[0]
    table = plain_table(
        "shape", "heads", "kv", "d_ff", "params", "step ms", "tokens", "GB", "loss",
        "behind, 95%" if sure else "behind", *["P(best)"] * (sure and certified),
    )  # fmt: skip
    for row in rows:
        behind = [f"{row['loss_behind_best']:.4f}"]
        if sure:
            interval = f"{row['behind_low']:+.3f}..{row['behind_high']:+.3f}"
            chance = [f"{row['p_best']:.0%}"] * certified
            behind = ["" if row is rows[0] else interval, *chance]
        table.add_row(
            f"{row['d_model']}×{row['n_layers']}",
            f"{row['n_heads']}×{row['d_head']}",
            str(row["n_kv_heads"]),
            f"{row['d_ff']}{marks(row)}",
            short_count(row["n_params"]),
            f"{row['step_time_s'] * 1e3:,.3g}",
            short_count(row["n_tokens"]),
            gigabytes(row["memory_bytes"])
            + REMAT_MARKS[row["remat"]]
            + ("s" if row["sharding"] == "full" else ""),
            f"{row['predicted_loss']:.4f}",
            *behind,
        )
    return table


def _how_sure(found: Answer) -> Lines:
    """The valley around the winner, the interval of its loss, and its chance to be the best.

    A chance among the few that a search met is none among all, so only a certified one is told.
    """
    depths = () if found.enumerated else found.space.depths
    if found.certified and len(found.shapes) > 1 and (sentence := valley(found.shapes, depths)):
        yield f"The valley: {sentence}"
    if not found.standings:
        law = escape(found.objective.law.name)
        yield f"How sure: not known, for {law} comes without draws.\n"
        return
    best, n_others = found.standings[0], len(found.tied_shapes) - 1
    tied = f"{n_others} other shapes tie" if n_others > 1 else "one other shape ties"
    chance = f"; {tied if n_others else 'no other shape ties'} with it" * found.certified
    chance += f" (P(best) {best.p_best:.0%})" * found.certified
    yield f"How sure: its loss is {best.loss_low:.3f} to {best.loss_high:.3f} (95%){chance}."
    yield escape(whose_level(found.objective.law)) + "\n"


def _marks(rows: list[dict[str, Any]]) -> str:
    full = "s: fully sharded" if any(row["sharding"] == "full" for row in rows) else ""
    remats = remat_means({row["remat"] for row in rows})
    meanings = "; ".join(filter(None, [*marks_mean(rows), *remats, full]))
    return f"[dim]{meanings}[/]\n" if meanings else ""

"""What to do with an answer: batch, steps, rates, data, cost, and the next command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ...objectives.budget import format_budget
from ...objectives.cost.execution import Execution, Remat
from ...objectives.cost.kernel import as_run
from ...objectives.loss_at_time import LossAtTime
from ...objectives.step_cost import flop_utilisation
from ...search.candidate import Candidate
from ...space.sparse import is_sparse
from ..export.brief import Brief
from ..words import short_count

# A run is told to the whole minute from an hour on, and to the second from a minute on.
TOLD_S = ((3600, 60), (60, 1))


def show_training(
    candidate: Candidate, objective: LossAtTime, folder: Path | None = None
) -> Iterator[str | Table]:
    """How to train a candidate; nothing of one that cannot be.

    Args:
        candidate: the architecture and its prediction.
        objective: that it was predicted under.
        folder: where the result lies, if anywhere.
    """
    if not candidate.prediction.feasible:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in _rows(candidate, objective, folder):
        table.add_row(name, escape(text))
    yield "\n[bold]To train it[/]"
    yield table


def _rows(
    candidate: Candidate, objective: LossAtTime, folder: Path | None
) -> Iterator[tuple[str, str]]:
    arch, predicted = candidate.arch, candidate.prediction
    brief = Brief(candidate=candidate, objective=objective)
    recipe, execution = brief.recipe, predicted.execution
    passes = [f"{brief.device_batch_size} at a time"]
    if execution.n_accumulation > 1:
        passes.append(f"{execution.n_accumulation} passes")
    if execution.n_split > 1:
        passes.append(f"{execution.n_split} chips")
    yield (
        "batch",
        f"{arch.batch_size:,} × {arch.seq_len:,} = {arch.tokens_per_step:,} tokens, "
        f"{' × '.join(passes)}",
    )
    if split := list(_split(execution)):
        yield "chips", ", ".join(split)
    limit = objective.data_limit_tokens or predicted.n_tokens
    unique = f", {short_count(limit)} of them unique" if limit < predicted.n_tokens else ""
    yield (
        "steps",
        f"{predicted.n_steps:,}, of which {brief.n_warmup_steps:,} warm up: "
        f"{short_count(predicted.n_tokens)} tokens{unique}",
    )
    own = "" if is_sparse(arch) else " (each matrix's own: export --to hf)"
    yield "rate", f"{brief.learning_rate:.2g} at the peak, linear to 0{own}"
    yield (
        "AdamW",
        f"decay {brief.weight_decay:.2g}, betas {recipe.beta1:g} and {recipe.beta2:.3g}, "
        f"gradients clipped at {recipe.clip_norm:g}",
    )
    seconds = predicted.n_steps * predicted.step_time_s
    n_chips, device = execution.n_chips, objective.device
    cost = device.cost_usd(n_chips, seconds)
    yield (
        "time",
        f"{format_budget(_whole(seconds))} at "
        f"{flop_utilisation(device, arch, predicted):.0%} of the peak, "
        + ", ".join(_choices(as_run(execution, arch, device.kind)))
        + (f", ${cost:,.2f}" if cost is not None else ""),
    )
    if is_sparse(arch) and device.kind != "cpu":
        return  # nothing here exports experts
    command = "confirm {}" if device.kind == "cpu" else "export {} --to TRAINER"
    first = "" if folder else "find … --out DIR, then "
    yield "next", f"{first}anybudget {command.format(folder or 'DIR')}"


def _split(execution: Execution) -> Iterator[str]:
    """How chips split a step beyond its batch and its state."""
    if execution.n_replicas > 1:
        yield f"each group of {execution.n_shares} shares a state of its own"
    for name in ("tensor", "pipeline"):
        if (n := getattr(execution, f"{name}_parallel")) > 1:
            yield f"{n} {name} parallel"
    if execution.virtual_stages > 1:
        yield f"each stage in {execution.virtual_stages} pieces"


def _choices(execution: Execution) -> Iterator[str]:
    """How a step is run, as far as the batch does not say it."""
    yield f"{execution.attention} attention"
    if execution.n_chips > 1:
        yield f"{execution.sharding.phrase} over {execution.n_chips} chips"
    if execution.remat != Remat.NONE:
        yield f"remat {execution.remat}"


def _whole(seconds: float) -> float:
    for least_s, unit_s in TOLD_S:
        if seconds >= least_s:
            return unit_s * round(seconds / unit_s)
    return float(f"{seconds:.3g}")

"""One architecture's prediction as text for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from ...search.predict import Predicted
from ...search.unranked.costed import Costed
from ..words import gigabytes, loss_interval
from .parts import Lines, assumptions, costs, plain_table, prose, show_warnings


def show_prediction(predicted: Predicted | Costed) -> Lines:
    """One model's prediction: where its step goes, and what comes of it."""
    answer = predicted.as_dict()
    known = isinstance(predicted, Predicted)
    objective = predicted.question.objective if known else predicted.objective
    yield assumptions(objective, named=known) + "\n"
    yield _parts(answer)
    if objective.n_chips > 1:
        yield "\nAll but parameters, steps and tokens is per chip."
    yield _sums(answer)
    yield costs(objective)
    if not answer["feasible"]:
        yield "[bold]cannot be trained so[/]: it does not fit, or makes no step in the budget\n"
    elif known:
        yield f"predicted loss [bold]{answer['predicted_loss']:.4f}[/] nats per token"
        standing = predicted.standing
        sure = f"How sure: {loss_interval(objective.law, standing)}." if standing else ""
        yield prose(sure) + "\n"
    yield from show_warnings(answer["warnings"])


def _parts(answer: dict[str, Any]) -> Table:
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
    return table


def _sums(answer: dict[str, Any]) -> str:
    n_params = answer["n_params"]
    n_active = answer.get("n_active_params", n_params)
    met = f"{n_active:,} met by a token, " * (n_active < n_params)
    size = (
        f"{n_params:,} parameters ({met}{answer['n_params_non_embedding']:,} outside the "
        f"vocabulary), {gigabytes(answer['memory_bytes'])} GB, remat {answer['remat']}"
    )
    ratio = f"{answer['n_tokens'] / n_active:.1f} per {'active ' * bool(met)}parameter"
    time = (
        f"{answer['step_time_s'] * 1e3:.2f} ms a step × {answer['n_steps']:,} steps = "
        f"{answer['n_tokens']:,} tokens ({ratio})"
    )
    return f"\n{prose(size)}\n{prose(time)}\n"

"""One architecture's prediction as text for a terminal."""

from __future__ import annotations

from ...search.predict import Predicted
from ..words import gigabytes, loss_interval
from .parts import Lines, assumptions, costs, plain_table, prose, show_warnings


def show_prediction(predicted: Predicted) -> Lines:
    """One architecture's prediction: where its step goes, and what comes of it."""
    answer, standing = predicted.as_dict(), predicted.standing
    objective = predicted.question.objective
    yield assumptions(objective) + "\n"
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
    yield costs(objective)
    if answer["feasible"]:
        yield f"predicted loss [bold]{answer['predicted_loss']:.4f}[/] nats per token"
        sure = f"How sure: {loss_interval(objective.law, standing)}." if standing else ""
        yield prose(sure) + "\n"
    else:
        yield "[bold]cannot be trained so[/]: it does not fit, or makes no step in the budget\n"
    yield from show_warnings(answer["warnings"])

"""Loss against memory: the models of which none has both less memory and a lower loss."""

from __future__ import annotations

from collections.abc import Sequence

from ...objectives.budget import format_budget
from ...objectives.loss_at_time import LossAtTime
from ...search.candidate import Candidate
from ..words import describe, shape_of
from .picture import Axis, Label, Line, Picture, Points
from .style import ACCENT, SECOND
from .ticks import span_of


def memory_front(front: Sequence[Candidate], objective: LossAtTime) -> Picture:
    """The Pareto front of predicted loss and memory, ascending in memory."""
    memory_gb = [candidate.prediction.memory_bytes / 1e9 for candidate in front]
    losses = [candidate.loss for candidate in front]
    best = front[-1]
    return Picture(
        title=(
            f"No model has both less memory and a lower loss "
            f"({format_budget(objective.time_budget_s)} on {objective.machine})"
        ),
        x=Axis(title="memory of training, GB", span=span_of(memory_gb)),
        y=Axis(title="predicted loss, nats per token", span=span_of(losses, 0.08)),
        layers=[
            Line(x=memory_gb, y=losses, colour=SECOND, steps=True, hover=[*map(describe, front)]),
            Points(
                x=memory_gb[-1:], y=losses[-1:], colours=ACCENT, symbol="star", size=17,
                hover=[describe(best)],
            ),
            Label(
                x=memory_gb[-1], y=losses[-1], text=shape_of(best), side="above", gap=11,
                colour=ACCENT, size=14, bold=True,
            ),
        ],
    )  # fmt: skip

"""The valley around a winner in words: which shapes lose little, and which lose much."""

from __future__ import annotations

from collections.abc import Sequence

from .candidate import Candidate

# Nats per token: what hardly anyone would notice, and what a longer run has to make good.
LITTLE, MUCH = 0.01, 0.03


def valley(shapes: Sequence[Candidate]) -> str:
    """A sentence on the depths and widths that lose little, and the depths that lose much.

    Args:
        shapes: the best of each width and depth of a whole space, best first.
    """
    best = shapes[0].loss
    near = [shape.shape for shape in shapes if shape.loss - best < LITTLE]
    widths, depths = ({at[i] for at in near} for i in (0, 1))
    of_depth: dict[int, float] = {}
    for one in shapes:
        of_depth.setdefault(one.shape[1], one.loss - best)
    bad = [depth for depth, loss in of_depth.items() if loss > MUCH]
    shallow = [depth for depth in bad if depth < min(depths)]
    deep = [depth for depth in bad if depth > max(depths)]
    ends = [f"{max(shallow)} layers or fewer"] if shallow else []
    ends += [f"{min(deep)} or more"] if deep else []
    much = f"; {' and '.join(ends)} lose over {MUCH}" if ends else ""
    return f"{_span(depths)} layers of width {_span(widths)} lose less than {LITTLE} nats{much}."


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"

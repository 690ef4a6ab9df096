"""The valley around a winner in words: which shapes lose little, and which lose much."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from .candidate import Candidate

# Nats per token: what hardly anyone would notice, and what a longer run has to make good.
LITTLE, MUCH = 0.01, 0.03


def valley(shapes: Sequence[Candidate], depths: Collection[int] = ()) -> str:
    """A sentence on the depths and widths that lose little, and the depths that lose much.

    Args:
        shapes: the best of each width and depth of a whole space, best first; or the first of
            these, with all depths of the space.
        depths: all of the space; empty: those of the shapes.

    Returns:
        The sentence; empty where the shapes that lose little may be more than these.
    """
    best = shapes[0].loss
    known = shapes[-1].loss - best if depths else math.inf
    if known < LITTLE:
        return ""
    near = [shape.shape for shape in shapes if shape.loss - best < LITTLE]
    widths, near_depths = ({at[i] for at in near} for i in (0, 1))
    # What is not among the shapes loses as much as the last, at least.
    of_depth = dict.fromkeys(depths, known)
    of_depth |= {one.shape[1]: one.loss - best for one in reversed(shapes)}
    bad = [depth for depth, loss in of_depth.items() if loss > MUCH]
    shallow = [depth for depth in bad if depth < min(near_depths)]
    deep = [depth for depth in bad if depth > max(near_depths)]
    ends = [f"{max(shallow)} layers or fewer" if max(shallow) > 1 else "one"] if shallow else []
    ends += [f"{min(deep)} or more"] if deep else []
    much = f"; {' and '.join(ends)} lose over {MUCH}" if ends else ""
    near_shapes = f"{_span(near_depths)} layers of width {_span(widths)}"
    return f"{near_shapes} lose less than {LITTLE} nats{much}."


def _span(values: set[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"

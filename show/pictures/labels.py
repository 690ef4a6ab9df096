"""Where labels of points stand, so that they cover neither points nor each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .picture import Axis, Side

# In shares of a picture's width and height: a letter, a line of text, a dot, and the gap to it.
LETTER, LINE, DOT, GAP = 0.017, 0.05, (0.022, 0.03), (0.02, 0.025)
Point = tuple[float, float]
SIDES: dict[Side, tuple[int, int]] = {
    "right": (1, 0),
    "left": (-1, 0),
    "above": (0, 1),
    "below": (0, -1),
}


class Box(NamedTuple):
    """Its middle, width and height, in shares of a picture's."""

    x: float
    y: float
    width: float
    height: float

    def overlap(self, other: Box) -> float:
        """The area that two have in common."""
        wide = (self.width + other.width) / 2 - abs(self.x - other.x)
        high = (self.height + other.height) / 2 - abs(self.y - other.y)
        return max(wide, 0) * max(high, 0)

    @property
    def outside(self) -> float:
        """How far it reaches out of the picture, both ways together."""
        ends = [(self.x, self.width), (self.y, self.height)]
        return sum(max(size / 2 - min(at, 1 - at), 0) for at, size in ends)


def share(axis: Axis, value: float) -> float:
    """Where a value is between an axis' ends."""
    low, high = axis.span
    if axis.log:
        low, high, value = map(math.log, (low, high, value))
    return (value - low) / (high - low)


def free_sides(
    x: Axis, y: Axis, points: Sequence[Point], texts: Sequence[str], line: Sequence[Point] = ()
) -> list[Side]:
    """For each point the side on which its text covers least; to the right where several are free.

    Args:
        x: the lying axis.
        y: the upright axis.
        points: where the dots are, in the order in which they may choose.
        texts: of each.
        line: points of a line that is better not covered either.
    """
    dots = [Box(share(x, a), share(y, b), *DOT) for a, b in points]
    taken = [*dots, *(Box(share(x, a), share(y, b), 0.01, 0.01) for a, b in line)]
    chosen: list[Side] = []
    for dot, text in zip(dots, texts, strict=True):
        width = LETTER * len(text)
        boxes: dict[Side, Box] = {
            side: Box(
                dot.x + right * (GAP[0] + width / 2), dot.y + up * (GAP[1] + LINE / 2), width, LINE
            )
            for side, (right, up) in SIDES.items()
        }
        costs = {side: box.outside + sum(map(box.overlap, taken)) for side, box in boxes.items()}
        best = min(boxes, key=lambda side, costs=costs: costs[side])
        chosen.append(best)
        taken.append(boxes[best])
    return chosen

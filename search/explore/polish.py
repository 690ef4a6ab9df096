"""Local polish: move to the best architecture nearby until none nearby is better."""

from __future__ import annotations

from ...objectives.loss_at_time import LossAtTime
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from ..certify.scan import best_of

# Half-widths of the neighbourhood in list entries. A wider one is tried only where the narrower has
# nothing better; the widest holds some 10^5 models, a few milliseconds' work.
RADII = (1, 3, 6)


def polish(
    candidate: Candidate,
    space: SearchSpace,
    objective: LossAtTime,
    radii: tuple[int, ...] = RADII,
) -> Candidate:
    """The candidate that no neighbour within the widest radius improves on, starting from one."""
    better: Candidate | None = candidate
    while better:
        candidate = better
        neighbourhoods = (
            best_of(space.neighbours(candidate.arch, radius), objective) for radius in radii
        )
        better = next((best for best in neighbourhoods if best and best.beats(candidate)), None)
    return candidate

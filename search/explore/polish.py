"""Local polish: move to the best architecture nearby until none nearby is better."""

from __future__ import annotations

from ...objectives.loss_at_time import LossAtTime
from ...space.mesh import size_of
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from ..certify.scan import best_of

# Half-widths of the neighbourhood in list entries. A wider one is tried only where the narrower has
# nothing better, and only where it is a fraction of a second's work, which it is not where batches
# and lengths are searched too.
RADII = (1, 3, 6)
MOST_NEAR = 200_000


def polish(
    candidate: Candidate,
    space: SearchSpace,
    objective: LossAtTime,
    radii: tuple[int, ...] = RADII,
) -> Candidate:
    """The candidate that no neighbour improves on, starting from one.

    Neighbours are those within the widest radius that has no more than `MOST_NEAR`.
    """
    better: Candidate | None = candidate
    while better:
        candidate = better
        neighbourhoods = (
            best_of(near, objective)
            for radius in radii
            if sum(map(size_of, near := list(space.neighbours(candidate.arch, radius))))
            <= MOST_NEAR
        )
        better = next((best for best in neighbourhoods if best and best.beats(candidate)), None)
    return candidate

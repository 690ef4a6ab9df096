"""Local polish: move to the best architecture nearby until none nearby is better."""

from __future__ import annotations

from ...objectives.loss_at_time import LossAtTime
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from ..certify.scan import MAX_SCANNED, best_of

# Steps as shares of each list, from far to near, the last to the next entry: one step in every list
# at once is 3^8 models at most. Narrow neighbourhoods alone end on tops between which lie widths
# that do not fill a machine's tiles.
STRIDES = (1 / 4, 1 / 16, 1 / 64, 0.0)
# So each list is also walked in every width, so many steps of such a share either way; in a space
# that is enumerated in no time, all so many entries away are cheaper to look at.
ALONG, ALONG_STRIDE = 8, 1 / 16
RADIUS = 6


def polish(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The candidate that no neighbour improves on, starting from one."""
    wider = _around if space.n_architectures <= MAX_SCANNED else _across_widths
    best = _nearer(candidate, space, objective)
    while True:
        better = _nearer(wider(best, space, objective), space, objective)
        if not better.beats(best):
            return best
        best = better


def _nearer(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """What shorter and shorter steps lead to; the same candidate where none is better."""
    for stride in STRIDES:
        while (best := best_of(space.neighbours(candidate.arch, 1, stride), objective)) and (
            best.beats(candidate)
        ):
            candidate = best
    return candidate


def _around(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The best of all within some entries in every list."""
    best = best_of(space.neighbours(candidate.arch, RADIUS), objective)
    return best if best and best.beats(candidate) else candidate


def _across_widths(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The best that differs in width and in one list, of one list after the other."""
    for name in space.free_coordinates:
        if name != "d_model":
            near = space.neighbours(candidate.arch, ALONG, ALONG_STRIDE, along=name)
            best = best_of(near, objective)
            candidate = best if best and best.beats(candidate) else candidate
    return candidate

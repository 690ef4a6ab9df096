"""Local polish: move to the best architecture nearby until none nearby is better."""

from __future__ import annotations

from collections.abc import Iterable

from ...objectives.loss_at_time import LossAtTime
from ...space.architecture import Architecture
from ...space.search_space import SearchSpace
from ..candidate import Candidate
from ..certify.scan import best_of

# Steps as shares of each list, from far to near, the last to the next entry: one step in every list
# at once is 3^8 models at most. Narrow neighbourhoods alone end on tops between which lie widths
# that do not fill a machine's tiles.
STRIDES = (1 / 4, 1 / 16, 1 / 64, 0.0)
# So each list is also walked in every width, so many steps of such a share either way, and then
# entry by entry; in a space of few models, all so many entries away are cheaper to look at.
ALONG, ALONG_STRIDE, WHOLE = 8, 1 / 16, 1 << 30
# A longer sequence wants a smaller batch: one alone changes the tokens of a step, which cost both.
TOGETHER = {"batch_size", "seq_len"}
FEW, RADIUS = 200_000, 6


def polish(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The candidate that no neighbour improves on, starting from one."""
    wider = _around if space.n_architectures <= FEW else _along_lists
    best = _nearer(candidate, space, objective)
    while (better := wider(best, space, objective)) is not best:
        best = _nearer(better, space, objective)
    return best


def _nearer(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """What shorter and shorter steps lead to."""
    for stride in STRIDES:
        last = None
        while candidate is not last:
            near = space.neighbours(candidate.arch, 1, stride)
            candidate, last = _better(near, candidate, objective), candidate
    return candidate


def _around(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The best of all within some entries in every list."""
    return _better(space.neighbours(candidate.arch, RADIUS), candidate, objective)


def _along_lists(candidate: Candidate, space: SearchSpace, objective: LossAtTime) -> Candidate:
    """The best that differs in width and one list, of each list in turn, then in one list alone."""
    lists = [name for name in space.free_coordinates if name != "d_model"]
    for names in (TOGETHER, *({name} for name in lists if name not in TOGETHER)):
        near = space.neighbours(candidate.arch, ALONG, ALONG_STRIDE, {"d_model", *names})
        candidate = _better(near, candidate, objective)
    for name in lists:
        near = space.neighbours(candidate.arch, WHOLE, along={name})
        candidate = _better(near, candidate, objective)
    return candidate


def _better(near: Iterable[Architecture], candidate: Candidate, objective: LossAtTime) -> Candidate:
    """The best of some models where it beats a candidate, and else that itself."""
    best = best_of(near, objective)
    return best if best and best.beats(candidate) else candidate

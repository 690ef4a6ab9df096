"""Exhaustive search: every valid architecture of a space, so the best of them is certain.

The scan walks the space's open meshes, so most of the arithmetic happens on small arrays, and
passes over a mesh whose smallest member does not fit: memory only grows with every count.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable, Iterator

import numpy as np

from ..objectives.loss_at_time import LossAtTime, Prediction
from ..space.architecture import COUNT_FIELDS, Architecture
from ..space.search_space import SearchSpace
from .candidate import Candidate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scan found.

    Attributes:
        candidates: the best feasible architectures, best first.
        n_valid: architectures that obey the rules, fit in memory and make a step in the budget.
        n_in_rules: architectures that obey the space's rules, the infeasible included.
    """

    candidates: list[Candidate]
    n_valid: int
    n_in_rules: int


def scan(
    space: SearchSpace,
    objective: LossAtTime,
    *,
    top: int = 10,
    on_progress: Callable[[int], None] = lambda n: None,
) -> Scan:
    """Evaluate every architecture of a space and keep the best.

    Args:
        space: where to look.
        objective: what to minimise.
        top: how many candidates to keep.
        on_progress: called with the number of architectures dealt with since the last call.
    """
    best: list[tuple[float, int, Candidate]] = []
    n_valid = n_in_rules = 0
    for mesh, predicted, size in evaluate(space.blocks(), objective):
        n_in_rules += size
        if predicted is not None:
            n_valid += int(np.count_nonzero(predicted.feasible))
            best = _merge(best, mesh, predicted, top)
        on_progress(size)
    return Scan(
        candidates=[candidate for *_, candidate in best], n_valid=n_valid, n_in_rules=n_in_rules
    )


def n_to_scan(space: SearchSpace, objective: LossAtTime) -> int:
    """How many architectures a scan would evaluate: those in meshes where something may fit."""
    meshes = space.blocks()
    return sum(_size(mesh) for mesh in meshes if objective.predict(_least(mesh)).feasible)


def evaluate(
    meshes: Iterator[Architecture], objective: LossAtTime
) -> Iterator[tuple[Architecture, Prediction | None, int]]:
    """Each mesh with its predictions (None where nothing in it fits) and its size."""
    for mesh in meshes:
        smallest = objective.predict(_least(mesh))
        yield mesh, objective.predict(mesh) if smallest.feasible else None, _size(mesh)


def best_of(meshes: Iterator[Architecture], objective: LossAtTime) -> Candidate | None:
    """The best feasible architecture of some meshes, or None where none is feasible."""
    best: list[tuple[float, int, Candidate]] = []
    for mesh, predicted, _ in evaluate(meshes, objective):
        if predicted is not None:
            best = _merge(best, mesh, predicted, 1)
    return best[0][-1] if best else None


def _merge(
    best: list[tuple[float, int, Candidate]], mesh: Architecture, predicted: Prediction, top: int
) -> list[tuple[float, int, Candidate]]:
    """The `top` best of those kept so far and those of a mesh; on a tie the earlier stays ahead."""
    losses = np.where(predicted.feasible, predicted.predicted_loss, np.inf)
    flat = losses.ravel()
    limit = best[-1][0] if len(best) == top else np.inf
    better = np.flatnonzero(flat < limit)
    if len(better) > top:
        worst = np.partition(flat[better], top - 1)[top - 1]
        better = better[flat[better] <= worst]
    better = better[np.argsort(flat[better], kind="stable")[:top]]
    # The second entry only breaks ties, in the order of the scan.
    found = [
        (
            float(flat[i]),
            len(best) + order,
            Candidate.at(mesh, predicted, np.unravel_index(i, losses.shape)),
        )
        for order, i in enumerate(better)
    ]
    merged = heapq.nsmallest(top, [*best, *found], key=lambda row: row[:2])
    return [(loss, rank, candidate) for rank, (loss, _, candidate) in enumerate(merged)]


def _size(mesh: Architecture) -> int:
    return np.broadcast(*mesh.as_dict().values()).size


def _least(mesh: Architecture) -> Architecture:
    """A model that needs no more memory and time than any of a mesh (not always one of them)."""
    least = {name: np.min(getattr(mesh, name)) for name in COUNT_FIELDS} | {"n_kv_heads": 1}
    return Architecture(
        **least, gated_mlp=np.min(mesh.gated_mlp), tied_embeddings=np.max(mesh.tied_embeddings)
    )

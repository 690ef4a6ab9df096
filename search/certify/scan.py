"""Exhaustive search: every valid architecture of a space, so the best of them is certain.

The scan walks the space's open meshes, so most of the arithmetic happens on small arrays, and
passes over a mesh whose smallest member does not fit: memory only grows with every count.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from ...objectives.loss_at_time import LossAtTime, Prediction
from ...objectives.step_cost import layer, take
from ...space.architecture import Architecture
from ...space.mesh import MESH_SIZE, flat, least, shape_of, side_by_side, size_of, stacked
from ...space.search_space import SearchSpace
from ..candidate import Candidate

# Spaces of up to this many architectures are enumerated, which also counts the valid and tells the
# best of every shape; from about there, bounds take less time for the three hundred best shapes.
MAX_SCANNED = 1_000_000
# Models that are predicted in one go, whatever the shapes of their meshes.
FEW = 1 << 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scan found.

    Attributes:
        candidates: the best feasible architectures, best first.
        shapes: the best of each width and depth (d_model, n_layers), best first.
        n_valid: architectures that obey the rules, fit in memory and make a step in the budget.
        n_in_rules: architectures that obey the space's rules, the infeasible included.
    """

    candidates: list[Candidate]
    shapes: list[Candidate]
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
    best: list[Candidate] = []
    shapes: dict[tuple[int, int], Candidate] = {}
    n_valid = n_in_rules = 0
    for mesh, predicted, size in evaluate(space.blocks(), objective):
        n_in_rules += size
        if predicted is not None:
            n_valid += int(np.count_nonzero(predicted.feasible))
            best = _merge(best, mesh, predicted, top)
            shapes |= _better_shapes(mesh, predicted, shapes)
        on_progress(size)
    return Scan(
        candidates=best,
        shapes=best_of_each_shape(shapes.values()),
        n_valid=n_valid,
        n_in_rules=n_in_rules,
    )


def evaluate(
    meshes: Iterable[Architecture], objective: LossAtTime
) -> Iterator[tuple[Architecture, Prediction | None, int]]:
    """Each mesh with its predictions (None where nothing in it fits) and its size."""
    some: list[Architecture] = []
    n_some = 0
    for mesh in meshes:
        size = size_of(mesh)
        if n_some + size > MESH_SIZE:
            yield from _together(some, objective)
            some, n_some = [], 0
        some.append(mesh)
        n_some += size
    yield from _together(some, objective)


def _together(
    meshes: list[Architecture], objective: LossAtTime
) -> Iterator[tuple[Architecture, Prediction | None, int]]:
    """As `evaluate`, of some meshes in a few calls, which take longer than their arithmetic."""
    if sum(map(size_of, meshes)) <= FEW:
        predicted = _in_a_row(meshes, objective)
    else:
        predicted = _in_stacks(meshes, objective)
    for i, mesh in enumerate(meshes):
        yield mesh, predicted.get(i), size_of(mesh)


def _in_a_row(meshes: list[Architecture], objective: LossAtTime) -> dict[int, Prediction]:
    """Predictions of few models, of each mesh that the law reaches, by its place."""
    reached = {i: mesh for i, mesh in enumerate(meshes) if objective.reaches(least(mesh))}
    if not reached:
        return {}
    predicted = objective.predict(flat(list(reached.values())))
    ends = itertools.accumulate(map(size_of, reached.values()))
    return {
        i: take(predicted, np.arange(end - size_of(mesh), end).reshape(shape_of(mesh)))
        for (i, mesh), end in zip(reached.items(), ends, strict=True)
    }


def _in_stacks(meshes: list[Architecture], objective: LossAtTime) -> dict[int, Prediction]:
    """Predictions of each mesh whose smallest model fits, by its place; of one shape in one go."""
    admitted = objective.admits(side_by_side([least(mesh) for mesh in meshes]))
    alike: dict[tuple[int, ...], list[int]] = {}
    for i in np.flatnonzero(admitted).tolist():
        alike.setdefault(shape_of(meshes[i]), []).append(i)
    found = {}
    for places in alike.values():
        predicted = objective.predict(stacked([meshes[i] for i in places]))
        found |= {i: layer(predicted, at) for at, i in enumerate(places)}
    return found


def best_of(meshes: Iterable[Architecture], objective: LossAtTime) -> Candidate | None:
    """The best feasible architecture of some meshes, or None where none is feasible."""
    best: list[Candidate] = []
    for mesh, predicted, _ in evaluate(meshes, objective):
        if predicted is not None:
            best = _merge(best, mesh, predicted, 1)
    return best[0] if best else None


def best_of_each_shape(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The best of each width and depth, best first."""
    best: dict[tuple[int, int], Candidate] = {}
    for candidate in candidates:
        if candidate.shape not in best or candidate.beats(best[candidate.shape]):
            best[candidate.shape] = candidate
    return sorted(best.values(), key=lambda candidate: candidate.loss)


def feasible_losses(predicted: Prediction) -> np.ndarray:
    """Predicted losses of a mesh, infinite where a model is not feasible."""
    return np.where(predicted.feasible, predicted.predicted_loss, np.inf)


def _merge(
    best: list[Candidate], mesh: Architecture, predicted: Prediction, top: int
) -> list[Candidate]:
    """The `top` best of those kept so far and those of a mesh; on a tie the earlier stays ahead."""
    losses = feasible_losses(predicted)
    flat = losses.ravel()
    better = np.flatnonzero(flat < (best[-1].loss if len(best) == top else np.inf))
    if len(better) > top:
        worst = np.partition(flat[better], top - 1)[top - 1]
        better = better[flat[better] <= worst]
    better = better[np.argsort(flat[better], kind="stable")[:top]]
    found = Candidate.each(mesh, predicted, np.unravel_index(better, losses.shape))
    return sorted([*best, *found], key=lambda candidate: candidate.loss)[:top]


def _better_shapes(
    mesh: Architecture, predicted: Prediction, known: dict[tuple[int, int], Candidate]
) -> dict[tuple[int, int], Candidate]:
    """The best of each depth in a mesh of one width, where it beats what is known."""
    losses = feasible_losses(predicted)
    # Depth first, whichever axis it has; where there is one depth only, it has none.
    axis = int(np.argmax(np.shape(mesh.n_layers)))
    depth_first = np.moveaxis(losses, axis, 0)
    by_depth = depth_first.reshape(np.size(mesh.n_layers), -1)
    lowest = by_depth.argmin(axis=1)
    shapes = [(int(mesh.d_model), int(n_layers)) for n_layers in np.ravel(mesh.n_layers)]
    reached = [known[shape].loss if shape in known else np.inf for shape in shapes]
    places = np.flatnonzero(by_depth[np.arange(len(lowest)), lowest] < reached)
    flat = places * by_depth.shape[1] + lowest[places]
    first, *rest = np.unravel_index(flat, depth_first.shape)
    better = Candidate.each(mesh, predicted, (*rest[:axis], first, *rest[axis:]))
    return {candidate.shape: candidate for candidate in better}
